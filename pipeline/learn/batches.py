"""Prepared samples as batches for the network."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import to_tensor


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """A batch of bags.

    Attributes:
        slices: Shape (B, N, C, S, S) in [0, 1]; bags shorter than the longest are padded with zeros.
        mask: Shape (B, N), true where a slice is there.
        index: Shape (B,), position of each bag in the data set.
    """

    slices: Tensor
    mask: Tensor
    index: Tensor


def load_bags(store: SampleStore, contents: Sequence[str], index: Sequence[int]) -> Bags:
    """Read the samples of some series and pad them to one shape."""
    arrays = [store.load(contents[n]) for n in index]
    count = max(len(array) for array in arrays)
    channels = max(array.shape[1] for array in arrays)
    size = arrays[0].shape[-1]
    slices = np.zeros((len(arrays), count, channels, size, size), np.uint16)
    mask = torch.zeros(len(arrays), count, dtype=torch.bool)
    for n, array in enumerate(arrays):
        slices[n, : len(array)] = array
        mask[n, : len(array)] = True
    return Bags(to_tensor(slices), mask, torch.tensor(list(index)))


def iterate(store: SampleStore, contents: Sequence[str], order: Sequence[int], batch_size: int) -> Iterator[Bags]:
    """Batches in a given order; the next one is read while the network works on this one."""
    chunks = [order[n : n + batch_size] for n in range(0, len(order), batch_size)]
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = [reader.submit(load_bags, store, contents, chunk) for chunk in chunks[:2]]
        for n in range(len(chunks)):
            bags = coming.pop(0).result()
            if n + 2 < len(chunks):
                coming.append(reader.submit(load_bags, store, contents, chunks[n + 2]))
            yield bags
