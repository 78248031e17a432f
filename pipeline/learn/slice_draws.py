"""Single slices drawn at random from scans, in batches."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from pipeline.learn.sets import UnlabelledSet
from pipeline.prepare.samples import to_tensor

SLICES_PER_SCAN = 4

Draw = tuple[int, float]


def draws_per_scan(scans: UnlabelledSet) -> int:
    """How many slices of a scan an epoch shows: one of a radiograph, up to SLICES_PER_SCAN of a volume."""
    return min(SLICES_PER_SCAN, scans.store.preparation.slices)


def draw_slices(scans: UnlabelledSet, generator: torch.Generator) -> list[Draw]:
    """An epoch's draws in random order: number of the scan, and how far up its stack, 0..1.

    The stack is cut into as many equal parts as there are draws, with one draw from each.
    """
    per_scan = draws_per_scan(scans)
    count = len(scans.contents) * per_scan
    jitter = torch.rand(count, generator=generator).tolist()
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return [(n // per_scan, (n % per_scan + jitter[n]) / per_scan) for n in order]


def load_slices(scans: UnlabelledSet, draws: Sequence[Draw]) -> Tensor:
    """The drawn slices, shape (B, C, S, S) in [0, 1]; only they are read from disk."""
    arrays = []
    for number, height in draws:
        stack = scans.store.load(scans.contents[number], mapped=True)
        arrays.append(np.array(stack[min(int(height * len(stack)), len(stack) - 1)]))
    channels = max(len(array) for array in arrays)
    side = arrays[0].shape[-1]
    return to_tensor(np.stack([np.broadcast_to(array, (channels, side, side)) for array in arrays]))


def iterate_slices(scans: UnlabelledSet, draws: Sequence[Draw], batch_size: int) -> Iterator[Tensor]:
    """Batches (B, C, S, S); the next one is read while the network works on this one. A last, smaller one is left out.

    Batch norm on few rows is noise; another epoch's order leaves out other slices.
    """
    chunks = [draws[n : n + batch_size] for n in range(0, len(draws) - batch_size + 1, batch_size)]
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = [reader.submit(load_slices, scans, chunk) for chunk in chunks[:2]]
        for n in range(len(chunks)):
            slices = coming.pop(0).result()
            if n + 2 < len(chunks):
                coming.append(reader.submit(load_slices, scans, chunks[n + 2]))
            yield slices
