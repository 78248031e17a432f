"""Random variations of training images, by policy. None mirrors: left and right mean something in a body."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.registry import lookup
from pipeline.prepare.augment.basic import basic
from pipeline.prepare.augment.scanner import scanner
from pipeline.prepare.augment.strong import strong

Policy = Callable[[Tensor, torch.Generator], Tensor]


def unchanged(slices: Tensor, _generator: torch.Generator) -> Tensor:
    """The policy `none`."""
    return slices


AUGMENTATIONS: dict[str, Policy] = {
    "none": unchanged,
    "basic": basic,  # small shifts, rotations, zooms, gamma, contrast
    "scanner": scanner,  # acquisition only: the same body by another machine
    "strong": strong,  # Cubuk et al. 2020, without what makes no sense on medical images
}


def augment(slices: Tensor, generator: torch.Generator, policy: str = "basic") -> Tensor:
    """Vary bags by a policy, with one draw for all slices of a bag.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1]; left as they are.
        generator: Source of the draws, on the CPU.
        policy: A name from `AUGMENTATIONS`.

    Returns:
        Bags of the same shape, in [0, 1].

    Raises:
        UnknownNameError: For another policy.
    """
    return lookup("augmentation", AUGMENTATIONS, policy)(slices, generator)
