"""PatchCore: patches, bank, and score against a second reading of the paper."""

import functools
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from torch.nn import functional

from models.backbones import build_backbone
from models.detectors import DETECTORS
from models.detectors.cells import Grid, stage_grids
from models.detectors.detector import SliceBatch
from models.detectors.patchcore import PatchCore, between
from models.errors import DetectorError

SIZE = 64


class Stream:
    """Normal slices in batches, in one order."""

    def __init__(self, images, size=5):
        self.images, self.size = images, size

    @property
    def slices(self):
        return len(self.images)

    def __call__(self, epoch=None):
        for start in range(0, len(self.images), self.size):
            part = self.images[start : start + self.size]
            yield SliceBatch(part, torch.arange(start, start + len(part)))


def slices(count, seed=0):
    """Smooth noise in [0, 1], shape (count, 1, S, S)."""
    coarse = torch.rand(count, 1, 9, 9, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=True)


@functools.cache
def network():
    return build_backbone("resnet18@layer3", seed=1)


@functools.cache
def grids():
    return stage_grids(network(), SIZE)


@pytest.fixture(autouse=True, scope="module")
def _measured_once():
    with mock.patch("models.detectors.detector.stage_grids", return_value=grids()):
        yield


def make(**options):
    return PatchCore(network(), image_size=SIZE, **options)


@pytest.fixture(scope="module")
def fitted():
    detector = make(bank=60, buffer=300)
    notes = []
    detector.fit(Stream(slices(12)), report=notes.append)
    assert notes == ["a bank of 60 patches stands for 768 of 12 normal slices"]
    return detector


def paper_score(patches, bank, neighbours=9):
    """Eq. 6 and 7 in numpy, float64, for one slice (P, F)."""
    distances = cdist(patches, bank)
    star = distances.min(axis=1).argmax()
    nearest = distances[star].argmin()
    around = np.argsort(cdist(bank[nearest][None], bank)[0])[:neighbours]
    weight = 1 - np.exp(distances[star, nearest]) / np.exp(distances[star, around]).sum()
    return weight * distances[star, nearest], distances.min(axis=1)


def test_it_is_in_the_registry_and_takes_strides_8_and_16():
    assert DETECTORS["patchcore"] is PatchCore
    detector = make()
    assert detector.stages == ("layer2", "layer3")
    assert detector.width == 128 + 256


def test_interpolation_between_stages_is_torch_s_where_cells_lie_as_torch_thinks():
    matrix = between(Grid(5, 7.5, 16, 1), Grid(10, 3.5, 8, 1))
    maps = torch.rand(1, 1, 5, 5)
    expected = functional.interpolate(maps, (10, 10), mode="bilinear", align_corners=False)
    torch.testing.assert_close(matrix @ maps @ matrix.T, expected)


def test_interpolation_follows_where_the_cells_lie():
    matrix = between(Grid(3, 0.0, 16, 1), Grid(6, 0.0, 8, 1))
    expected = [0.0, 5.0, 10.0, 15.0, 20.0, 20.0]
    assert (matrix @ torch.tensor([0.0, 10.0, 20.0])).tolist() == expected


def test_patches_are_3_x_3_means_of_both_stages_side_by_side():
    detector = make()
    images = slices(2, seed=5)
    maps = detector.backbone.feature_maps(detector.normalise(images))
    found = detector.patches(images)
    assert found.shape == (2, 64, 384)
    middle = maps["layer2"][1, :, 2:5, 3:6].mean(dim=(1, 2))  # around row 3, column 4
    torch.testing.assert_close(found[1, 3 * 8 + 4, :128], middle)
    corner = maps["layer2"][1, :, :2, :2].sum(dim=(1, 2)) / 9  # padded with zeros
    torch.testing.assert_close(found[1, 0, :128], corner)
    coarse = functional.avg_pool2d(maps["layer3"], 3, 1, 1)
    torch.testing.assert_close(found[1, 2 * 8 + 4, 128:], coarse[1, :, 1, 2])  # both centred at pixels 16 and 32


def test_scores_are_those_of_the_paper(fitted):
    images = slices(4, seed=9)
    found = fitted.score(images, maps=True)
    bank = fitted.bank.double().numpy()
    for n, patches in enumerate(fitted.patches(images).double().numpy()):
        score, distances = paper_score(patches, bank)
        assert found.score[n].item() == pytest.approx(score, rel=1e-4)
        assert 8 / 9 - 1e-6 <= score / distances.max() < 1
        small = torch.from_numpy(distances).view(1, 1, 8, 8)
        pixels = np.array([np.interp(np.arange(SIZE), np.arange(8) * 8, row) for row in small[0, 0].numpy()])
        pixels = np.array([np.interp(np.arange(SIZE), np.arange(8) * 8, column) for column in pixels.T]).T
        expected = gaussian_filter(pixels, 4, mode="reflect", truncate=4)
        np.testing.assert_allclose(found.maps[n].numpy(), expected, rtol=1e-3)


def test_a_slice_scores_the_same_alone(fitted):
    images = slices(11, seed=3)
    together = fitted.score(images, maps=True)
    alone = fitted.score(images[6:7], maps=True)
    torch.testing.assert_close(together.score[6:7], alone.score)
    torch.testing.assert_close(together.maps[6:7], alone.maps)
    assert fitted.score(images).maps is None


def test_a_planted_square_stands_out_where_it_is(fitted):
    clean = slices(12)[:1]
    marked = clean.clone()
    marked[:, :, 40:56, 8:24] = 1 - marked[:, :, 40:56, 8:24].round()
    found = fitted.score(torch.cat([clean, marked]), maps=True)
    assert found.score[1] > found.score[0]
    row, column = divmod(int(found.maps[1].argmax()), SIZE)
    assert 32 <= row < 64
    assert 0 <= column < 32


def test_patches_of_normal_slices_that_are_all_in_the_bank_score_zero():
    detector = make(bank=200, buffer=201)
    images = slices(3)
    detector.fit(Stream(images))
    assert len(detector.bank) == 192
    assert detector.score(images).score.tolist() == [0.0, 0.0, 0.0]


def test_fewer_patches_of_each_slice_bound_the_work():
    detector = make(bank=200, buffer=201, candidates=30)
    notes = []
    detector.fit(Stream(slices(6)), report=notes.append)
    assert notes == ["a bank of 30 patches stands for 30 of 6 normal slices"]


def test_what_was_learned_can_be_stored_and_taken(fitted):
    other = make(bank=60)
    with pytest.raises(DetectorError, match="not fitted"):
        other.score(slices(1))
    other.take(fitted.learned())
    images = slices(2, seed=4)
    assert torch.equal(other.score(images).score, fitted.score(images).score)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({}, r"expected \['bank'\]"),
        ({"bank": torch.ones(3, 383)}, "expected"),
        ({"bank": torch.full((3, 384), torch.nan)}, "not finite"),
        ({"bank": torch.ones(1, 384)}, "bank of 1 patches"),
        ({"bank": torch.ones(99, 384)}, "expected 2 to 60"),
    ],
)
def test_what_does_not_fit_is_refused(stored, said):
    with pytest.raises(DetectorError, match=said):
        make(bank=60).take(stored)


def test_too_few_or_equal_slices_are_refused():
    with pytest.raises(DetectorError, match="at least 2 normal slices, found 1"):
        make(bank=60).fit(Stream(slices(1)))
    with pytest.raises(DetectorError, match="all 4 normal slices are the same image"):
        make(bank=60).fit(Stream(slices(1).repeat(4, 1, 1, 1)))


def test_the_seed_decides():
    def bank(seed):
        detector = make(bank=20, buffer=100, seed=seed)
        detector.fit(Stream(slices(6)))
        return detector.bank

    state = torch.get_rng_state()
    assert torch.equal(bank(1), bank(1))
    assert not torch.equal(bank(1), bank(2))
    assert torch.equal(torch.get_rng_state(), state)
