"""Small moves of the body in the image. Nothing is mirrored, and nothing goes far enough to lose the finding.

Operations as in `pipeline.prepare.augment.acquisition`: bags, one signed strength a bag, a generator.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.prepare.augment.acquisition import Operation

ROTATION = math.radians(15)
SHIFT = 0.2  # in half sides of the image
ZOOM = 0.15
SHEAR = 0.15

Matrix = list[list[Tensor]]


def affine(slices: Tensor, theta: Tensor) -> Tensor:
    """Resample each bag with its own matrix (2, 3) from output to input places, both in -1..1; edges go on."""
    bags, count, channels, side, _ = slices.shape
    grid = functional.affine_grid(theta.to(slices.device), [bags, 1, side, side], align_corners=False)
    flat = slices.reshape(bags, count * channels, side, side)
    moved = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.reshape(slices.shape)


def _operation(matrix: Callable[[Tensor, Tensor, Tensor], Matrix]) -> Operation:
    """An operation from a function of (strength, zeros, ones), each (B,), to a matrix of columns."""

    def move(slices: Tensor, strength: Tensor, _generator: torch.Generator) -> Tensor:
        rows = matrix(strength, torch.zeros_like(strength), torch.ones_like(strength))
        return affine(slices, torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2))

    return move


GEOMETRY: dict[str, Operation] = {
    "rotate": _operation(
        lambda u, o, _: [
            [(u * ROTATION).cos(), -(u * ROTATION).sin(), o],
            [(u * ROTATION).sin(), (u * ROTATION).cos(), o],
        ]
    ),
    "shift_x": _operation(lambda u, o, i: [[i, o, u * SHIFT], [o, i, o]]),
    "shift_y": _operation(lambda u, o, i: [[i, o, o], [o, i, u * SHIFT]]),
    "zoom": _operation(lambda u, o, i: [[i + u * ZOOM, o, o], [o, i + u * ZOOM, o]]),
    "shear_x": _operation(lambda u, o, i: [[i, u * SHEAR, o], [o, i, o]]),
    "shear_y": _operation(lambda u, o, i: [[i, o, o], [u * SHEAR, i, o]]),
}
