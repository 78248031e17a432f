"""The target's scans as shuffled batches that are large enough and of about one size."""

import numpy as np
import pytest
import torch

from pipeline.learn.target_stream import scans_per_batch, shuffled_batches
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import Preparation


def make(folder, lengths, most):
    """Scan n holds slices of grey value 1000 n + number of the slice."""
    kind = ("volume", "CT") if most > 1 else ("radiograph", "CR/DX")
    preparation = Preparation(kind=kind[0], modality=kind[1], image_size=32, slices=most, intensity="auto")
    store = SampleStore(folder, preparation)
    for n, length in enumerate(lengths):
        values = (1000 * n + np.arange(length)).astype(np.uint16)
        path = store.path(f"scan {n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.broadcast_to(values[:, None, None, None], (length, 1, 32, 32)))
    return store, [f"scan {n}" for n in range(len(lengths))]


def numbers(bags):
    """Per bag, the numbers of its slices that are there."""
    values = (bags.slices[:, :, 0, 0, 0] * 65535).round().int()
    return [values[n][bags.mask[n]].tolist() for n in range(len(values))]


@pytest.mark.parametrize(("scans", "sizes"), [(64, [64]), (20, [20]), (127, [127]), (200, [67, 67, 66])])
def test_every_radiograph_comes_once_in_batches_of_about_one_size(tmp_path, scans, sizes):
    store, contents = make(tmp_path, [1] * scans, 1)
    batches = list(shuffled_batches(store, contents, seed=0))
    assert [len(bags.index) for bags in batches] == sizes
    index = [n for bags in batches for n in bags.index.tolist()]
    assert sorted(index) == list(range(scans))
    assert index != list(range(scans)), "not shuffled"
    found = [first for bags in batches for first, *_ in numbers(bags)]
    assert found == [1000 * n % 65536 for n in index]


def test_the_order_comes_from_the_seed_alone(tmp_path):
    store, contents = make(tmp_path, [12] * 20, 12)
    state = torch.get_rng_state()

    def seen(seed):
        return [number for bags in shuffled_batches(store, contents, seed=seed) for number in numbers(bags)]

    assert seen(3) == seen(3)
    assert seen(3) != seen(4)
    assert torch.equal(torch.get_rng_state(), state)


def test_of_volumes_eight_different_slices_are_taken_in_their_order(tmp_path):
    store, contents = make(tmp_path, [12, 9, 8, 3] * 5, 12)
    assert scans_per_batch(store) == 8
    batches = list(shuffled_batches(store, contents, seed=1))
    assert [len(bags.index) for bags in batches] == [10, 10]
    for bags in batches:
        for scan, slices in zip(bags.index.tolist(), numbers(bags), strict=True):
            length = (12, 9, 8, 3)[scan % 4]
            assert len(slices) == min(length, 8)
            assert slices == sorted(set(slices))
            assert all(0 <= number - 1000 * scan < length for number in slices)


def test_thin_volumes_fill_a_batch_with_more_scans(tmp_path):
    store, contents = make(tmp_path, [2] * 70, 2)
    assert [int(bags.mask.sum()) for bags in shuffled_batches(store, contents, seed=0)] == [70, 70]


def test_no_scans_give_no_batch(tmp_path):
    store, _ = make(tmp_path, [], 1)
    assert list(shuffled_batches(store, [], seed=0)) == []
