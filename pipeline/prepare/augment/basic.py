"""The policy `basic`: small variations of training images that leave the finding in place."""

import math

import torch
from torch import Tensor

from pipeline.prepare.augment.acquisition import per_bag
from pipeline.prepare.augment.geometry import affine

ROTATION_DEGREES = 8.0
SHIFT = 0.05
ZOOM = 0.08
GAMMA = 0.25
CONTRAST = 0.15


def basic(slices: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, shift, zoom and change gamma and contrast, with one draw for all slices of a bag.

    Nothing is mirrored: left and right mean something in a body.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1].
        generator: Source of the draws, on the CPU.

    Returns:
        Bags of the same shape, in [0, 1].
    """
    bags = len(slices)

    def draw(limit: float) -> Tensor:
        return (torch.rand(bags, generator=generator) * 2 - 1) * limit

    angle, zoom = draw(ROTATION_DEGREES) * math.pi / 180, 1 + draw(ZOOM)
    theta = torch.zeros(bags, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 0, 2] = angle.cos() * zoom, -angle.sin() * zoom, draw(SHIFT)
    theta[:, 1, 0], theta[:, 1, 1], theta[:, 1, 2] = angle.sin() * zoom, angle.cos() * zoom, draw(SHIFT)
    moved = affine(slices, theta)
    gamma, contrast = per_bag(1 + draw(GAMMA), slices), per_bag(1 + draw(CONTRAST), slices)
    varied = (moved.clamp(1e-4, 1) ** gamma - 0.5) * contrast + 0.5
    return varied.clamp(0, 1)
