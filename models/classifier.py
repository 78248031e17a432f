"""The one model shape: a 2D backbone per slice, pooling over the bag, a linear head.

A radiograph is a bag of one slice, a volume a bag of many.
"""

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
    """

    FLOOR = 0.01

    mean: Tensor
    std: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))

    def fit(self, features: Tensor) -> None:
        """Take mean and standard deviation of each feature over rows (M, F)."""
        self.take(features.mean(dim=0), features.std(dim=0, correction=0))

    def take(self, mean: Tensor, std: Tensor) -> None:
        """Take means and standard deviations (F,) as they are but for the floor."""
        floor = self.FLOOR * float(std.mean())
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=floor) if floor > 0 else torch.ones_like(std))

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
        self.norm = FeatureNorm(features)
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

    def classify(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, L) of bags of features (B, N, F) with a mask (B, N) of slices that are there."""
        logits: Tensor = self.head(self.pooling(self.norm(features), mask))
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
