import numpy as np
import pytest
import torch
from scipy import ndimage

from models.backbones import build_backbone
from models.detectors import DETECTORS
from models.detectors.cells import Grid
from models.detectors.padim import PaDiM, nearest_cells
from models.errors import DetectorError

SIZE = 64
SMALL = {"channels": 12}
CHANNELS = 64


def build(name="squeezenet1_1@stage3", **changes):
    return PaDiM(build_backbone(name, seed=1), **{"image_size": SIZE, **SMALL, **changes})


@pytest.fixture
def anatomy(textures):
    """Make slices that show the same thing at the same place, and little else."""

    def draw(count, seed=0):
        return 0.8 * textures(1, SIZE, seed=99) + 0.2 * textures(count, SIZE, seed=seed)

    return draw


@pytest.fixture
def fitted(stream, anatomy):
    detector = build(channels=CHANNELS)
    detector.fit(stream(anatomy(60)))
    return detector


def embeddings(detector, images):
    """All channels of all stages at each cell of the finest, (M, h, h, C), as numpy: the nearest cell by its centre."""
    with torch.no_grad():
        maps = detector.backbone.feature_maps(detector.normalise(images))
    fine = detector.grids[detector.stages[0]]
    centres = fine.start + fine.step * np.arange(fine.cells)
    out = []
    for stage in detector.stages:
        grid = detector.grids[stage]
        away = np.abs(centres[:, None] - (grid.start + grid.step * np.arange(grid.cells))[None])
        nearest = away.round(3).argmin(axis=1)
        out.append(maps[stage].double().numpy().transpose(0, 2, 3, 1)[:, nearest][:, :, nearest])
    return np.concatenate(out, axis=3)


def plain_padim(detector, normal, fresh):
    """Maps (M, S, S) of a PaDiM with numpy and scipy, place by place, on the detector's channels."""
    chosen = detector.chosen.numpy()
    known, new = embeddings(detector, normal)[..., chosen], embeddings(detector, fresh)[..., chosen]
    side = known.shape[1]
    maps = np.empty((len(new), side, side))
    for r in range(side):
        for c in range(side):
            precision = np.linalg.inv(np.cov(known[:, r, c].T) + 0.01 * np.eye(len(chosen)))
            away = new[:, r, c] - known[:, r, c].mean(axis=0)
            maps[:, r, c] = np.sqrt(np.einsum("md,de,me->m", away, precision, away))
    fine = detector.grids[detector.stages[0]]
    centres, pixels = fine.start + fine.step * np.arange(side), np.arange(SIZE)
    for axis in (1, 2):
        maps = np.apply_along_axis(lambda line: np.interp(pixels, centres, line), axis, maps)
    return ndimage.gaussian_filter(maps, (0, 4, 4), mode="reflect", truncate=4)


@pytest.mark.parametrize("name", ["squeezenet1_1@stage3", "resnet18@layer2", "densenet121@block2"])
def test_map_and_score_agree_with_a_plain_padim(name, stream, textures):
    normal, fresh = textures(33, SIZE), textures(3, SIZE, seed=1)
    detector = build(name)
    detector.fit(stream(normal, batch=10))
    expected = plain_padim(detector, normal, fresh)
    found = detector.score(fresh, maps=True)
    np.testing.assert_allclose(found.maps.numpy(), expected, rtol=2e-3)
    np.testing.assert_allclose(found.score.numpy(), expected.max(axis=(1, 2)), rtol=2e-3)


def test_stages_by_default_have_strides_4_8_and_16():
    assert build("resnet18@layer3").stages == ("layer1", "layer2", "layer3")
    assert build("squeezenet1_1").stages == ("stage1", "stage2", "stage3")
    assert build("squeezenet1_1", stages=("stage2",)).stages == ("stage2",)


def test_channels_are_a_random_choice_by_seed_from_all_stages():
    first, again, other = (
        build("resnet18@layer3", image_size=32, channels=100, seed=seed).chosen for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(set(first.tolist())) == 100
    assert [int(((first >= low) & (first < high)).sum() > 5) for low, high in ((0, 64), (64, 192), (192, 448))] == [
        1
    ] * 3
    assert build("resnet18@layer1", channels=100).depth == 64  # there are no more


def test_cells_of_a_coarse_stage_go_where_they_lie():
    """Cells at 0, 4, 8, ... of a fine stage, at 0 and 16 of a coarse one: 8 is as near to both and takes the lower."""
    fine, coarse = Grid(8, 0.0, 4.0, 1), Grid(2, 0.0, 16.0, 1)
    assert nearest_cells(fine, coarse).tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert nearest_cells(fine, fine).tolist() == list(range(8))
    # Centres at 7 and 15 against 3, 7, 11, 15: 11 is as near to both.
    assert nearest_cells(Grid(4, 3.0, 4.0, 1), Grid(2, 7.0, 8.0, 1)).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("corner", [(8, 8), (26, 30), (46, 8), (45, 46)])
def test_the_map_peaks_in_a_planted_lesion(corner, fitted, anatomy):
    fresh = anatomy(4, seed=1)
    row, column = corner
    fresh[:, :, row : row + 10, column : column + 10] = (torch.arange(10) % 2).float()
    peak = fitted.score(fresh, maps=True).maps.flatten(1).argmax(dim=1)
    offset = torch.stack([peak // SIZE - row, peak % SIZE - column], dim=1)
    assert bool(((offset >= 0) & (offset < 10)).all()), offset


def test_what_deviates_scores_higher(fitted, anatomy):
    normal = anatomy(10, seed=1)
    odd = normal.clone()
    odd[:, :, 20:32, 20:32] = (torch.arange(12) % 2).float()
    assert float(fitted.score(odd).score.min()) > float(fitted.score(normal).score.max())


def test_a_score_depends_on_its_slice_alone(fitted, anatomy):
    fresh = anatomy(35, seed=1)  # more than are worked on at once
    found = fitted.score(fresh, maps=True)
    for n in (0, 34):
        alone = fitted.score(fresh[n : n + 1], maps=True)
        torch.testing.assert_close(alone.score, found.score[n : n + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.maps, found.maps[n : n + 1], rtol=1e-4, atol=1e-4)
    assert found.maps.shape == (35, SIZE, SIZE)
    assert fitted.score(fresh[:1]).maps is None


def test_batches_do_not_matter_and_the_global_generator_is_left_alone(stream, textures):
    images = textures(40, SIZE)
    images[:7] *= 0.2  # the first batch is not like the others
    before = torch.get_rng_state()
    maps = []
    for batch in (7, 40):
        detector = build()
        detector.fit(stream(images, batch))
        maps.append(detector.score(textures(2, SIZE, seed=1), maps=True).maps)
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-3, atol=1e-3)
    assert torch.equal(before, torch.get_rng_state())


def test_what_was_learned_can_be_stored_and_taken(fitted, anatomy):
    again = build(channels=CHANNELS)
    learned = {name: value.clone() for name, value in fitted.learned().items()}
    again.take(learned)
    fresh = anatomy(3, seed=1)
    assert torch.equal(again.score(fresh).score, fitted.score(fresh).score)
    places, depth = fitted.finest.cells**2, CHANNELS
    assert learned["whiten"].shape == (places, depth * (depth + 1) // 2)  # half of the matrices is zero


def test_damaged_findings_are_refused(fitted):
    good = fitted.learned()
    for name in ("mean", "whiten"):
        for bad in (good[name].double(), good[name][:-1], good[name] * float("nan")):
            with pytest.raises(DetectorError, match=f"stored detector: {name}"):
                fitted.take({**good, name: bad})
    for bad in (good["chosen"] + 10_000, good["chosen"].flip(0)):
        with pytest.raises(DetectorError, match="ascending channels below"):
            fitted.take({**good, "chosen": bad})
    with pytest.raises(DetectorError, match="expected"):
        fitted.take({**good, "more": good["mean"]})


def test_slices_that_teach_nothing_are_refused(stream, textures):
    detector = build()
    with pytest.raises(DetectorError, match="needs at least 2 normal slices, found 1"):
        detector.fit(stream(textures(1, SIZE)))
    with pytest.raises(DetectorError, match="all 12 normal slices are alike"):
        detector.fit(stream(torch.full((12, 1, SIZE, SIZE), 0.5)))
    for ask in (detector.learned, lambda: detector.score(textures(1, SIZE))):
        with pytest.raises(DetectorError, match="not fitted yet"):
            ask()


def test_a_network_that_gives_no_numbers_is_told(stream, textures):
    detector = build()
    next(detector.backbone.parameters()).data.fill_(float("nan"))
    with pytest.raises(DetectorError, match="not finite"):
        detector.fit(stream(textures(12, SIZE)))


def test_a_place_that_never_varies_does_no_harm(stream, anatomy):
    """Where all slices are alike the covariance is 0.01 I: the distance is ||f - m|| / 0.1, and 0 for one of them."""
    images = anatomy(30)
    images[:, :, :, :32] = 0.3  # cells at 3 see up to 6 at the finest stage alone
    detector = build(stages=("stage1",))
    detector.fit(stream(images))
    with torch.no_grad():
        found = detector.distances(images[:4])
        bright = detector.distances(images[:4] + 0.1)
        away = detector.places(images[:4] + 0.1) - detector.places(images[:4])
    assert float(found[:, :, 0].max()) < 1e-3
    side = detector.finest.cells
    expected = (away.norm(dim=2) / 0.1).T.reshape(4, side, side)
    torch.testing.assert_close(bright[:, :, 0], expected[:, :, 0], rtol=1e-3, atol=1e-4)


def test_more_memory_than_the_cap_is_refused_before_any_work():
    with pytest.raises(DetectorError, match="take fewer channels, later stages or smaller slices"):
        build(max_bytes=4 * 15 * 15 * 12 * 12 - 1)
    assert build(max_bytes=4 * 15 * 15 * 12 * 12).finest.cells == 15


def test_it_is_in_the_registry():
    assert DETECTORS["padim"] is PaDiM
