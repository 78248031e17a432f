"""timm's networks behind the same interface, for names such as `timm/inception_v4`."""

from typing import Any

import torch
from torch import Tensor, nn

from models.backbones import Backbone, GroupedParameters
from models.errors import ModelError, UnknownNameError


class TimmBackbone(Backbone):
    """A timm network as a feature extractor; stages are those of timm's `feature_info`."""

    network: Any

    def __init__(self, name: str, network: Any) -> None:
        settings = network.default_cfg
        super().__init__(
            name,
            [],
            neck=nn.Identity(),
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            min_size=int((settings.get("min_input_size") or settings["input_size"])[1]),
        )
        self.network = network
        self.num_features = int(getattr(network, "head_hidden_size", None) or network.num_features)
        self.widths = (self.num_features,)

    @property
    def stage_names(self) -> list[str]:
        """Modules that timm names as the ends of its stages."""
        return [str(info["module"]) for info in self.network.feature_info]

    @property
    def tap_modules(self) -> list[str]:
        """The module that timm names as the end of its last stage."""
        return [f"network.{self.stage_names[-1]}"]

    def feature_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Stage name to map, shape (B, C, h, w) each, of normalised images (B, 3, H, W)."""
        maps: dict[str, Tensor] = {}

        def keep(name: str) -> torch.utils.hooks.RemovableHandle:
            module: nn.Module = self.network.get_submodule(name)
            return module.register_forward_hook(lambda _m, _i, output: maps.__setitem__(name, output))

        handles = [keep(name) for name in self.stage_names]
        try:
            self.last_map(images)
        finally:
            for handle in handles:
                handle.remove()
        return maps

    def last_map(self, images: Tensor) -> Tensor:
        """Timm's unpooled features."""
        features: Tensor = self.network.forward_features(images)
        return features

    def pool(self, last_map: Tensor) -> Tensor:
        """Timm's own pooling before its head, shape (B, F)."""
        pooled: Tensor = self.network.forward_head(last_map, pre_logits=True)
        return pooled

    def tapped(self, images: Tensor) -> list[Tensor]:
        """The one tap of a timm network."""
        return [self.pool(self.last_map(images))]

    def layer_groups(self) -> GroupedParameters:
        """Parameters in timm's coarse groups, from stem to top."""
        from timm.models import group_parameters

        named = dict(self.network.named_parameters())
        groups = group_parameters(self.network, self.network.group_matcher(coarse=True))
        return [(f"group{n}", [named[key] for key in keys]) for n, keys in enumerate(groups.values())]


def build_timm_backbone(name: str) -> TimmBackbone:
    """Build `timm/...` with random weights.

    Raises:
        ModelError: If timm is not installed.
        UnknownNameError: If timm does not know the name.
    """
    try:
        import timm
    except ImportError as error:
        raise ModelError(f"{name}: timm is not installed; pip install 'scanshift[timm]'") from error
    bare = name.removeprefix("timm/")
    if "@" in bare:
        raise ModelError(f"{name}: timm's networks cannot be cut after a stage")
    if not timm.is_model(bare):
        raise UnknownNameError(f"unknown timm model {bare!r} (timm {timm.__version__})")
    return TimmBackbone(name, timm.create_model(bare, pretrained=False, num_classes=0))
