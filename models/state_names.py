"""Which tensor of a weights file, in torchvision's or timm's layout, belongs where in a backbone, and which lack."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

import torch
from torch import Tensor, nn

from models.backbones import Backbone
from models.families import ARCHITECTURES

StateDict = Mapping[str, Tensor]


def on_meta(name: str) -> nn.Module:
    """Torchvision's own network, head and all, without memory for its weights."""
    architecture = ARCHITECTURES[name]
    unused = {"init_weights": False} if "init_weights" in architecture.options else {}
    with torch.device("meta"):
        return architecture.builder(weights=None, **{**architecture.options, **unused})


def missing_stages(table: Mapping[str, tuple[str, str]], state: StateDict) -> list[str]:
    """Stages of which a weights file lacks a tensor.

    Args:
        table: Of `source_names`.
        state: What the file holds.
    """
    names = table.values()
    return list(
        dict.fromkeys(at for at, name in names if name not in state and not name.endswith("num_batches_tracked"))
    )


def longest_cut(backbone: Backbone, missing: Sequence[str]) -> str:
    """`name@stage` after the last stage before which nothing is missing; empty where the stem is not whole."""
    whole = list(takewhile(lambda stage: stage not in missing, backbone.stage_names))
    if not whole or not set(missing) <= set(backbone.stage_names):  # timm's networks are one piece and cannot be cut
        return ""
    return f"{backbone.name.partition('@')[0]}@{whole[-1]}"


def source_names(backbone: Backbone) -> dict[str, tuple[str, str]]:
    """Our name of every tensor to (stage, name in torchvision's or timm's state dict)."""
    if backbone.name.startswith("timm/"):
        return {
            f"network.{name}": ("network", name)
            for name in backbone.get_submodule("network").state_dict()
        }  # fmt: skip
    base = backbone.name.partition("@")[0]
    architecture = ARCHITECTURES[base]
    original = on_meta(base)
    stages = dict(architecture.stages(original))
    neck = architecture.neck(original)
    names = {id(tensor): name for name, tensor in original.state_dict(keep_vars=True).items()}
    table: dict[str, tuple[str, str]] = {}
    for stage in backbone.stage_names:
        for key, tensor in stages[stage].state_dict(keep_vars=True).items():
            table[f"stages.{stage}.{key}"] = (stage, names[id(tensor)])
    if len(backbone.neck.state_dict()):
        for key, tensor in neck.state_dict(keep_vars=True).items():
            table[f"neck.{key}"] = (backbone.stage_names[-1], names[id(tensor)])
    return table
