import numpy as np
import pytest
import torch

from pipeline.learn.sets import UnlabelledSet
from pipeline.learn.slice_draws import SLICES_PER_SCAN, draw_slices, draws_per_scan, iterate_slices, load_slices
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import LEVELS, Preparation


@pytest.fixture
def scans(tmp_path):
    """Scans whose slice k of scan n has the grey value 100 n + k."""

    def build(lengths, *, slices=1, channels=1):
        kind = ("volume", "CT") if slices > 1 else ("radiograph", "CR/DX")
        preparation = Preparation(kind=kind[0], modality=kind[1], image_size=32, slices=slices, intensity="auto")
        store = SampleStore(tmp_path / "cache", preparation)
        for n, length in enumerate(lengths):
            grey = (100 * n + np.arange(length, dtype=np.uint16))[:, None, None, None]
            path = store.path(str(n))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.broadcast_to(grey, (length, channels, 4, 4)).astype(np.uint16))
        return UnlabelledSet(store, tuple(map(str, range(len(lengths)))))

    return build


def greys(batch):
    return (batch[:, 0, 0, 0] * LEVELS).round().int().tolist()


def test_every_radiograph_is_drawn_once(scans):
    found = scans([1] * 7)
    draws = draw_slices(found, torch.Generator().manual_seed(0))
    assert sorted(number for number, _ in draws) == list(range(7))
    assert [number for number, _ in draws] != list(range(7))
    assert sorted(greys(load_slices(found, draws))) == [100 * n for n in range(7)]


def test_a_volume_shows_slices_from_all_of_its_stack(scans):
    found = scans([20, 20], slices=24)
    assert draws_per_scan(found) == SLICES_PER_SCAN == 4
    seen = set()
    for seed in range(60):
        drawn = greys(load_slices(found, draw_slices(found, torch.Generator().manual_seed(seed))))
        quarters = sorted((grey // 100, grey % 100 // 5) for grey in drawn)
        assert quarters == [(n, k) for n in (0, 1) for k in range(4)]
        seen.update(drawn)
    assert seen == {100 * n + k for n in (0, 1) for k in range(20)}


def test_a_short_volume_is_drawn_from_within_its_length(scans):
    found = scans([1, 2], slices=3)
    assert sorted(greys(load_slices(found, [(0, 0.999999), (1, 0.4), (1, 1.0)]))) == [0, 100, 101]


def test_batches_are_full_and_in_order(scans):
    found = scans([1] * 10)
    draws = draw_slices(found, torch.Generator().manual_seed(1))
    batches = list(iterate_slices(found, draws, 4))
    assert [len(batch) for batch in batches] == [4, 4]
    assert torch.cat(batches).equal(load_slices(found, draws[:8]))
    assert batches[0].dtype == torch.float32


def test_grey_and_colour_go_into_one_batch(scans, tmp_path):
    grey = scans([1, 1])
    path = grey.store.path("1")
    np.save(path, np.arange(48, dtype=np.uint16).reshape(1, 3, 4, 4))
    found = load_slices(grey, [(0, 0.0), (1, 0.0)])
    assert found.shape == (2, 3, 4, 4)
    assert torch.equal(found[1], torch.arange(48.0).reshape(3, 4, 4) / LEVELS)
    assert (found[0] == 0).all()


def test_a_mapped_sample_is_not_read_whole(scans):
    found = scans([5], slices=8)
    mapped = found.store.load("0", mapped=True)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, found.store.load("0"))
