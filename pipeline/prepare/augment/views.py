"""Two looks at one scan, for learning without labels."""

import math

import torch
from torch import Tensor

from pipeline.prepare.augment.geometry import affine
from pipeline.prepare.augment.strong import strong

LEAST_AREA = 0.5
ASPECT = 4 / 3


def view(slices: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop, brought back to full size, varied by the policy `strong`.

    A crop shows at least half of the image, not a fifth of it as for photographs: two crops of a chest that share
    nothing but lung would have to be called the same.

    Args:
        slices: Bags (B, N, C, S, S) in [0, 1]; left as they are.
        generator: Source of the draws, on the CPU.

    Returns:
        Bags of the same shape, in [0, 1].
    """
    return strong(resized_crop(slices, generator), generator)


def resized_crop(slices: Tensor, generator: torch.Generator) -> Tensor:
    """One upright crop a bag, resized to S x S.

    Its share a of the area is uniform in LEAST_AREA..1 and its aspect r = width / height log-uniform in
    1/ASPECT..ASPECT; sides are min(1, sqrt(a r)) and min(1, sqrt(a / r)) of the image's, its place is uniform among
    those within the image.

    Source:
        Szegedy et al. 2015, Going deeper with convolutions, section 6, with another range of areas.
    """
    area, aspect, x, y = torch.rand(4, len(slices), generator=generator)
    area = LEAST_AREA + area * (1 - LEAST_AREA)
    aspect = ((aspect * 2 - 1) * math.log(ASPECT)).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(len(slices), 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width, (x * 2 - 1) * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, (y * 2 - 1) * (1 - height)
    return affine(slices, theta).clamp(0, 1)
