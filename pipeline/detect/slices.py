"""Prepared scans as a stream of slices, for fitting, and in batches of one fixed shape, for scoring."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.detectors.detector import SliceBatch
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import to_tensor

Slices = npt.NDArray[np.uint16]
SCORING_BATCH = 16
FITTING_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class StoredNormals:
    """The slices of prepared scans that are taken for normal: what a detector's `fit` goes through.

    Attributes:
        store: Where the samples are.
        contents: Content hash of each scan.
        seed: Of the order in which an epoch shows them.
        device: Where the slices are put.
        told: Called with the number of scans of each batch.
    """

    store: SampleStore
    contents: tuple[str, ...]
    seed: int
    device: torch.device
    told: Callable[[int], None] | None = None

    @property
    def slices(self) -> int:
        """Number of slices in all."""
        return sum(len(self.store.load(content, mapped=True)) for content in self.contents)

    def __call__(self, epoch: int | None = None) -> Iterator[SliceBatch]:
        """Batches of about 32 slices, whole scans, in order or shuffled by seed and epoch; the next is read ahead."""
        order = list(range(len(self.contents)))
        if epoch is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        size = max(1, FITTING_BATCH // self.store.preparation.slices)
        chunks = [order[n : n + size] for n in range(0, len(order), size)]
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming: list[Future[SliceBatch]] = [reader.submit(self._read, chunk) for chunk in chunks[:2]]
            for n, chunk in enumerate(chunks):
                batch = coming.pop(0).result()
                if n + 2 < len(chunks):
                    coming.append(reader.submit(self._read, chunks[n + 2]))
                yield SliceBatch(batch.images.to(self.device), batch.index.to(self.device))
                if self.told:
                    self.told(len(chunk))

    def _read(self, chunk: Sequence[int]) -> SliceBatch:
        arrays = [self.store.load(self.contents[n]) for n in chunk]
        index = np.repeat(np.array(chunk, np.int64), [len(array) for array in arrays])
        return SliceBatch(to_tensor(_stacked(arrays)), torch.from_numpy(index))


def in_batches(
    samples: Sequence[Slices], run: Callable[[Tensor], Tensor], device: torch.device, *, batch: int = SCORING_BATCH
) -> list[Tensor]:
    """What a function says of each slice, scan by scan.

    All batches are of one size, the last one filled up with zeros: with one shape, and functions that look at each
    slice by itself, the figures of a scan do not depend on what else is scored with it.

    Args:
        samples: Prepared scans, (N, C, S, S) each.
        run: Slices (B, C, S, S) in [0, 1] on the device to rows (B, ...).
        device: Where the slices are put.
        batch: B.

    Returns:
        Rows (N, ...) of each scan, on the CPU.
    """
    if not samples:
        return []
    lengths = [len(sample) for sample in samples]
    total = sum(lengths)
    channels = max(sample.shape[1] for sample in samples)
    size = samples[0].shape[-1]
    flat = np.zeros((-(-total // batch) * batch, channels, size, size), np.uint16)
    at = 0
    for sample in samples:
        flat[at : at + len(sample)] = sample
        at += len(sample)
    with torch.inference_mode():
        parts = [run(to_tensor(flat[n : n + batch]).to(device)).cpu() for n in range(0, len(flat), batch)]
    return list(torch.split(torch.cat(parts)[:total], lengths))


def places(count: int) -> Tensor:
    """Where the slices of a scan lie along it, 0..1, shape (count,); 0.5 for a single one."""
    return torch.linspace(0, 1, count) if count > 1 else torch.full((count,), 0.5)


def _stacked(arrays: Sequence[Slices]) -> Slices:
    channels = max(array.shape[1] for array in arrays)
    return np.concatenate([np.broadcast_to(a, (len(a), channels, *a.shape[2:])) for a in arrays])
