"""Unlabelled scans of a target as shuffled batches, one in memory at a time."""

from collections.abc import Iterator, Sequence

import torch

from pipeline.learn.batches import Bags, load_bags
from pipeline.prepare.cache import SampleStore

BATCH_SLICES = 64
SCAN_SLICES = 8


def shuffled_batches(store: SampleStore, contents: Sequence[str], *, seed: int) -> Iterator[Bags]:
    """Every scan once, in shuffled batches of about one size with at least 64 slices where there are so many.

    Of a volume at most 8 slices are taken, drawn anew for each batch: 64 slices of three volumes would be three
    patients' statistics. Scans often arrive sorted by patient or by diagnosis, hence the shuffling.

    Args:
        store: Where the samples lie.
        contents: Content hashes.
        seed: Of order and slices.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(contents), generator=generator)
    count = max(1, len(order) // scans_per_batch(store))
    for chunk in torch.tensor_split(order, count):
        if len(chunk):
            yield _thinned(load_bags(store, contents, chunk.tolist()), generator)


def scans_per_batch(store: SampleStore) -> int:
    """Scans that have 64 slices together, when at most 8 of each are taken."""
    return -(-BATCH_SLICES // min(store.preparation.slices, SCAN_SLICES))


def _thinned(bags: Bags, generator: torch.Generator) -> Bags:
    """At most SCAN_SLICES random slices of each bag, in their order."""
    count = bags.mask.shape[1]
    if count <= SCAN_SLICES:
        return bags
    draw = torch.rand(bags.mask.shape, generator=generator).masked_fill(~bags.mask, -1)  # slices that are there first
    chosen = draw.topk(SCAN_SLICES, dim=1).indices.sort(dim=1).values
    rows = torch.arange(len(chosen))[:, None]
    return Bags(bags.slices[rows, chosen], bags.mask[rows, chosen], bags.index)
