"""One way to every pretrained CNN: pooled features, feature maps per stage, layer groups, normalisation.

Names are torchvision's (`resnet50`); `name@stage` cuts a network after that stage (`resnet18@layer3`),
`name@stage+stage` pools several stages and joins what they say, `name@all` all stages but the stem; `timm/name` takes
one of timm's where the extra is installed.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.families import ARCHITECTURES, Stages
from models.registry import lookup

GroupedParameters = list[tuple[str, list[nn.Parameter]]]
ALL = "all"


class Backbone(nn.Module):
    """A CNN without its classification head.

    Attributes:
        name: Registry name, with `@stage` if it is cut, or the stages whose features are joined.
        taps: Stages whose pooled maps make up the features, from stem to top; the last stage alone by default. What
            suits a new task best often lies below the top (Evci et al. 2022, Head2Toe).
        widths: Number of features of each tap.
        mean, std: Normalisation of RGB in [0, 1] that the weights expect.
        min_size: Smallest image side in pixels.
        num_features: F, the length of the pooled feature vector.
        variant: `v1` for a ResNet with the stride in the first 1x1 convolution (Keras, Caffe), else empty.
    """

    num_features: int
    widths: tuple[int, ...]

    def __init__(
        self,
        name: str,
        stages: Stages,
        *,
        taps: tuple[str, ...] = (),
        neck: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        min_size: int,
    ) -> None:
        super().__init__()
        self.name, self.mean, self.std, self.min_size, self.variant = name, mean, std, min_size, ""
        self.stages = nn.ModuleDict(dict(stages))
        self.taps = taps or tuple(name for name, _ in stages[-1:])
        self.neck = neck

    @property
    def stage_names(self) -> list[str]:
        """Stages from stem to top."""
        return list(self.stages)

    @property
    def tap_modules(self) -> list[str]:
        """Names of the modules whose maps are pooled into the features, from stem to top."""
        return [f"stages.{tap}" for tap in self.taps]

    def feature_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Run the network and keep every stage's map.

        Args:
            images: Normalised images, shape (B, 3, H, W).

        Returns:
            Stage name to map, shape (B, C, h, w) each.
        """
        maps: dict[str, Tensor] = {}
        for name, stage in self.stages.items():
            images = stage(images)
            maps[name] = images
        return maps

    def last_map(self, images: Tensor) -> Tensor:
        """The map of the last stage, shape (B, C, h, w), of images (B, 3, H, W)."""
        for stage in self.stages.values():
            images = stage(images)
        return images

    def pool(self, last_map: Tensor) -> Tensor:
        """Global average of the last map and the neck, shape (B, F)."""
        pooled: Tensor = self.neck(last_map.mean(dim=(2, 3), keepdim=True))
        return pooled.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, F), of normalised images (B, 3, H, W): those of the taps side by side."""
        return torch.cat(self.tapped(images), dim=1)

    def tapped(self, images: Tensor) -> list[Tensor]:
        """Pooled features of each tap, shape (B, F_t) each, of normalised images (B, 3, H, W)."""
        found: list[Tensor] = []
        last = self.stage_names[-1]
        for name, stage in self.stages.items():
            images = stage(images)
            if name in self.taps:
                found.append(self.pool(images) if name == last else images.mean(dim=(2, 3)))
        return found

    def layer_groups(self) -> GroupedParameters:
        """Parameters by stage, from stem to top; the neck belongs to the last."""
        groups = [(name, list(stage.parameters())) for name, stage in self.stages.items()]
        groups[-1][1].extend(self.neck.parameters())
        return groups


def build_backbone(name: str, *, seed: int = 0, variant: str = "") -> Backbone:
    """Build a backbone with random weights from a seed; `models.weights` loads pretrained ones.

    Args:
        name: Registry name, `name@stage`, `name@stage+stage`, `name@all`, or `timm/name`.
        seed: Seed of the initial weights; the global generator is left as it was.
        variant: `v1` moves the stride of ResNet bottlenecks into their first convolution.

    Raises:
        UnknownNameError: If the name or a stage is not known.
        ModelError: If timm is asked for and not installed, or stages are not in order.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith("timm/"):
            from models.timm_backbone import build_timm_backbone  # an extra, so imported when asked for

            return build_timm_backbone(name)
        base, _, cut = name.partition("@")
        architecture = lookup("backbone", ARCHITECTURES, base)
        model = architecture.builder(weights=None, **architecture.options)
    stages = architecture.stages(model)
    neck = architecture.neck(model)
    names = [stage for stage, _ in stages]
    taps = tuple(names[1:]) if cut == ALL else tuple(cut.split("+")) if cut else ()
    if taps:
        places = [names.index(lookup(f"stage of {base}", dict.fromkeys(names, tap), tap)) for tap in taps]
        if places != sorted(set(places)):
            raise ModelError(f"{name}: name each stage once, from stem to top")
        neck = neck if taps[-1] == names[-1] else nn.Identity()
        stages = stages[: places[-1] + 1]
    backbone = Backbone(
        name,
        stages,
        taps=taps,
        neck=neck,
        mean=architecture.mean,
        std=architecture.std,
        min_size=architecture.min_size,
    )
    set_variant(backbone, variant)
    backbone.widths = _count_features(backbone)
    backbone.num_features = sum(backbone.widths)
    return backbone


def joined(name: str) -> str:
    """The name of a network with the features of all its stages, up to the cut if it has one; timm's have only one."""
    base, _, cut = name.partition("@")
    if name.startswith("timm/") or cut == ALL or "+" in cut:
        return name
    if not cut:
        return f"{base}@{ALL}"
    names = build_backbone(name).stage_names[1:]
    return f"{base}@{'+'.join(names) or cut}"


def set_variant(backbone: Backbone, variant: str) -> None:
    """Turn a bottleneck ResNet into the v1 of He et al. 2016: stride in the first convolution, not the 3x3.

    Raises:
        ModelError: If the variant is unknown or the network has no bottlenecks.
    """
    if not variant:
        return
    layers: list[Any] = [backbone.stages[f"layer{n}"] for n in range(1, 5) if f"layer{n}" in backbone.stages]
    if variant != "v1" or not layers or not hasattr(layers[0][0], "conv3"):
        raise ModelError(f"{backbone.name}: no variant {variant!r}")
    for layer in layers[1:]:  # layer1 keeps the resolution
        block = layer[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    backbone.variant = variant


def _count_features(backbone: Backbone) -> tuple[int, ...]:
    was_training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        found = backbone.tapped(torch.zeros(1, 3, backbone.min_size, backbone.min_size))
    backbone.train(was_training)
    return tuple(int(features.shape[1]) for features in found)
