"""Streams of normal slices held in memory."""

import pytest
import torch

from models.detectors.detector import SliceBatch


class Stream:
    """Slices (N, C, S, S) in batches of some sizes, over and over; each slice is a scan of its own."""

    def __init__(self, images, batch=7):
        self.images, self.batch = images, batch

    @property
    def slices(self):
        return len(self.images)

    def __call__(self, epoch=None):
        numbers = torch.arange(len(self.images))
        for part, index in zip(self.images.split(self.batch), numbers.split(self.batch), strict=True):
            yield SliceBatch(part, index)


@pytest.fixture
def stream():
    """Make a stream of slices."""
    return Stream


@pytest.fixture
def textures():
    """Make smooth random slices (N, 1, S, S) in [0, 1] from a seed."""

    def draw(count, size=32, seed=0):
        coarse = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")

    return draw
