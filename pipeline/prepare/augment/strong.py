"""The policy `strong`: a few random changes of geometry and acquisition at one magnitude."""

import torch
from torch import Tensor

from pipeline.prepare.augment.acquisition import ACQUISITION, Operation
from pipeline.prepare.augment.geometry import GEOMETRY
from pipeline.prepare.augment.scanner import change

COUNT = 2
MAGNITUDE = 0.7
OPERATIONS: dict[str, Operation] = {**GEOMETRY, **ACQUISITION}


def strong(slices: Tensor, generator: torch.Generator) -> Tensor:
    """COUNT operations, drawn for each bag with equal chances, at MAGNITUDE of their bounds, with a random sign.

    Of RandAugment's operations, those are left out that make no sense on a grey image of a body or could hide or
    invent a finding: hue and colour, inversion, solarising, posterising, mirroring, cutting out. Noise, point spread,
    coarse pixels and bias fields are there instead.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1]; left as they are.
        generator: Source of the draws, on the CPU.

    Returns:
        Bags of the same shape, in [0, 1].

    Source:
        Cubuk et al. 2020, RandAugment: Practical Automated Data Augmentation with a Reduced Search Space.
    """
    result = slices.clone()
    for _ in range(COUNT):
        drawn = torch.randint(len(OPERATIONS), (len(slices),), generator=generator)
        sign = torch.randint(2, (len(slices),), generator=generator) * 2.0 - 1
        for number, operation in enumerate(OPERATIONS.values()):
            change(result, operation, drawn == number, sign * MAGNITUDE, generator)
    return result
