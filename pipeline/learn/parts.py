"""A step's bags in parts that go through the network one after the other, so that memory stays flat."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.classifier import SliceBagClassifier, pack
from pipeline.config import Precision
from pipeline.learn.device import mixed

MICRO_SLICES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some bags of a batch.

    Attributes:
        slices: (b, N, C, S, S).
        mask: (b, N).
        rows: Which bags of the batch these are.
    """

    slices: Tensor
    mask: Tensor
    rows: slice


def cut(slices: Tensor, mask: Tensor) -> Iterator[Part]:
    """Parts of nearly equal size, of at most MICRO_SLICES slices or one bag; a bag is never divided."""
    count = len(slices)
    if not count:  # a rank without a share of a last, small batch
        return
    parts = math.ceil(count / max(1, MICRO_SLICES // slices.shape[1]))
    size = math.ceil(count / parts)
    for n in range(0, count, size):
        rows = slice(n, n + size)
        yield Part(slices[rows], mask[rows], rows)


def pooled(classifier: SliceBagClassifier, part: Part, device: torch.device, precision: Precision) -> Tensor:
    """Standardised, pooled features (b, F), float32, of the bags of a part."""
    mask = part.mask.to(device)
    with mixed(device, precision):
        found = classifier.features(part.slices[part.mask].to(device))
    return classifier.pooled(pack(found, mask), mask)
