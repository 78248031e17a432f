"""The one model shape: a 2D backbone per slice, pooling over the bag, a linear head.

A radiograph is a bag of one slice, a volume a bag of many.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.backbones import Backbone, GroupedParameters
from models.pooling import AttentionPooling, MeanPooling

Pooling = Literal["mean", "attention"]


class FeatureNorm(nn.Module):
    """Fixed standardisation of features, (h - mean) / max(std, FLOOR * mean std), with training-set statistics.

    Keeps the linear probe's problem well conditioned and stays in place during fine-tuning, so that the
    probe's head remains right at its start (Kumar et al. 2022 fold it into the head instead). The floor keeps a
    feature that hardly varies in training from exploding on a scan where it does.

    Where features of T taps stand side by side, those of a tap with F_t features are multiplied by
    sqrt(ENERGY / (T F_t)): every tap then counts alike in a penalty on the head, however wide it is.

    Args:
        widths: F_t of each tap.
    """

    FLOOR = 0.01
    ENERGY = 512

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        count = sum(widths)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        shares = [torch.full((width,), (self.ENERGY / (len(widths) * width)) ** 0.5) for width in widths]
        scale = torch.cat(shares) if len(widths) > 1 else torch.ones(count)
        self.register_buffer("scale", scale, persistent=False)

    def fit(self, features: Tensor) -> None:
        """Take mean and standard deviation of each feature over rows (M, F)."""
        self.take(features.mean(dim=0), features.std(dim=0, correction=0))

    def take(self, mean: Tensor, std: Tensor) -> None:
        """Take means and standard deviations (F,) as they are but for the floor and the shares of the taps."""
        floor = self.FLOOR * float(std.mean())
        self.mean.copy_(mean)
        self.std.copy_((std.clamp(min=floor) if floor > 0 else torch.ones_like(std)) / self.scale)

    def forward(self, features: Tensor) -> Tensor:
        """Standardise (..., F)."""
        return (features - self.mean) / self.std


class SliceBagClassifier(nn.Module):
    """Backbone per slice, standardised features, pooling over the bag, linear head.

    Args:
        backbone: Feature extractor.
        num_classes: L.
        pooling: `mean` for bags of one, `attention` for volumes.
        seed: Seed of the pooling's initial weights; the head starts at zero.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, backbone: Backbone, num_classes: int, *, pooling: Pooling, seed: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        features = backbone.num_features
        self.norm = FeatureNorm(backbone.widths)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.pooling: nn.Module = AttentionPooling(features) if pooling == "attention" else MeanPooling()
            self.head = nn.Linear(features, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("input_mean", torch.tensor(backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_std", torch.tensor(backbone.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, slices: Tensor) -> Tensor:
        """Slices (M, 1 or 3, H, W) in [0, 1] to what the backbone expects, (M, 3, H, W); grey is copied thrice."""
        return (slices.expand(-1, 3, -1, -1) - self.input_mean) / self.input_std

    def features(self, slices: Tensor) -> Tensor:
        """Pooled backbone features (M, F), not standardised, of slices (M, 1 or 3, H, W) in [0, 1]."""
        images = self.normalise(slices).contiguous(memory_format=torch.channels_last)
        pooled: Tensor = self.backbone(images)
        return pooled

    def pooled(self, features: Tensor, mask: Tensor) -> Tensor:
        """Standardised features (B, F) of bags of slice features (B, N, F) with a mask (B, N), before the head."""
        found: Tensor = self.pooling(self.norm(features), mask)
        return found

    def classify(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, L) of bags of slice features (B, N, F) with a mask (B, N) of slices that are there."""
        logits: Tensor = self.head(self.pooled(features, mask))
        return logits

    def forward(self, slices: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, L) of bags of slices (B, N, 1 or 3, H, W) in [0, 1] with a mask (B, N)."""
        return self.classify(pack(self.features(slices[mask]), mask), mask)

    def layer_groups(self) -> GroupedParameters:
        """Parameters from stem to top: the backbone's groups, then `pooling` (if it has any) and `head`."""
        groups = list(self.backbone.layer_groups())
        pooling = list(self.pooling.parameters())
        if pooling:
            groups.append(("pooling", pooling))
        return [*groups, ("head", list(self.head.parameters()))]

    def top_groups(self) -> tuple[str, ...]:
        """Names of the groups above the backbone."""
        names = [name for name, _ in self.layer_groups()]
        return tuple(names[len(self.backbone.layer_groups()) :])


def pack(features: Tensor, mask: Tensor) -> Tensor:
    """Features (M, F) of the slices that are there into bags (B, N, F), float32, zeros where the mask is false."""
    bags = torch.zeros(*mask.shape, features.shape[1], device=features.device)
    bags[mask] = features.float()
    return bags
