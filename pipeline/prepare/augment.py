"""Small variations of training images that leave the finding in place."""

import math

import torch
from torch import Tensor
from torch.nn import functional

ROTATION_DEGREES = 8.0
SHIFT = 0.05
ZOOM = 0.08
GAMMA = 0.25
CONTRAST = 0.15


def augment(slices: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, shift, zoom and change gamma and contrast, with one draw for all slices of a bag.

    Nothing is mirrored: left and right mean something in a body.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1].
        generator: Source of the draws, on the CPU.

    Returns:
        Bags of the same shape, in [0, 1].
    """
    bags, count, channels, size, _ = slices.shape

    def draw(limit: float) -> Tensor:
        return (torch.rand(bags, generator=generator) * 2 - 1) * limit

    angle, zoom = draw(ROTATION_DEGREES) * math.pi / 180, 1 + draw(ZOOM)
    theta = torch.zeros(bags, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 0, 2] = angle.cos() * zoom, -angle.sin() * zoom, draw(SHIFT)
    theta[:, 1, 0], theta[:, 1, 1], theta[:, 1, 2] = angle.sin() * zoom, angle.cos() * zoom, draw(SHIFT)
    grid = functional.affine_grid(theta.to(slices.device), [bags, 1, size, size], align_corners=False)
    flat = slices.reshape(bags, count * channels, size, size)
    moved = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    gamma = (1 + draw(GAMMA)).to(slices.device).view(bags, 1, 1, 1)
    contrast = (1 + draw(CONTRAST)).to(slices.device).view(bags, 1, 1, 1)
    varied = (moved.clamp(1e-4, 1) ** gamma - 0.5) * contrast + 0.5
    return varied.clamp(0, 1).reshape(slices.shape)
