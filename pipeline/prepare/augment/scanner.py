"""The policy `scanner`: the same body, as another machine would have shown it."""

import torch
from torch import Tensor

from pipeline.prepare.augment.acquisition import ACQUISITION, Operation

CHANCE = {"bias_field": 0.3, "blur": 0.3, "resolution": 0.3, "noise": 0.5, "gamma": 0.5, "window": 0.5}


def scanner(slices: Tensor, generator: torch.Generator) -> Tensor:
    """Each change of acquisition with its own chance and a strength uniform in -1..1, one draw for a bag.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1]; left as they are.
        generator: Source of the draws, on the CPU.

    Returns:
        Bags of the same shape, in [0, 1].
    """
    result = slices.clone()
    for name, operation in ACQUISITION.items():
        chosen = torch.rand(len(slices), generator=generator) < CHANCE[name]
        strength = torch.rand(len(slices), generator=generator) * 2 - 1
        change(result, operation, chosen, strength, generator)
    return result


def change(
    slices: Tensor,
    operation: Operation,
    chosen: Tensor,
    strength: Tensor,
    generator: torch.Generator,
) -> None:
    """Apply an operation, in place, to the chosen bags only.

    Args:
        slices: Bags (B, N, C, S, S).
        chosen, strength: Which bags, shape (B,), and how strongly.
    """
    index = chosen.nonzero().flatten()
    if len(index):
        place = index.to(slices.device)
        slices[place] = operation(slices[place], strength[index], generator)
