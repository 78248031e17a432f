"""Grey values brought to a standard: by hand, against a second implementation, and as properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage

from pipeline.errors import CohortError, ConfigError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare import cache as cache_module
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.harmonise import PERCENTILES, Harmonise, fit_harmonise, foreground
from pipeline.prepare.samples import LEVELS, Preparation, prepare
from pipeline.scan import Scan

KINDS = ["nyul", "histogram"]
THREE = Harmonise(kind="nyul", percentiles=(0, 50, 100), levels=(0.2, 0.4, 0.8))


def picture(seed, size=64):
    """A smooth image, 0..1 as floats, its values spread unevenly."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 2)
    ranks = noise.argsort(axis=None).argsort().reshape(size, size) / (size * size - 1)
    return 0.05 + 0.6 * ranks**1.3 + 0.2 * ranks**4


def row(*values):
    """An image whose foreground is these values, each twice, black all around; its row 1 has them in order."""
    return np.pad(np.array([values, values[::-1]]), 1)


def stored(image):
    """As prepared samples are kept: (1, 1, S, S), uint16."""
    return np.rint(np.asarray(image) * LEVELS).astype(np.uint16)[None, None]


def sources(count=12):
    return [stored(picture(n)) for n in range(count)]


# a second implementation, with loops and sorted lists


def slow_percentile(values, percent):
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def slow_landmarks(array, percentiles):
    """Of images without a border."""
    kept = [int(v) for v in array.ravel()]
    return [slow_percentile(kept, p) / LEVELS for p in percentiles]


def slow_map(value, marks, levels):
    groups = {}
    for mark, level in zip(marks, levels, strict=True):
        groups.setdefault(mark, []).append(level)
    points = sorted((mark, sum(found) / len(found)) for mark, found in groups.items())
    number = 0
    while number < len(points) - 2 and value > points[number + 1][0]:
        number += 1
    (x0, y0), (x1, y1) = points[number], points[number + 1]
    return min(1.0, max(0.0, y0 + (value - x0) * (y1 - y0) / (x1 - x0)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_implementation_agrees(kind):
    train = sources(5)
    standard = fit_harmonise(kind, iter(train))
    per_scan = np.array([slow_landmarks(array, PERCENTILES[kind]) for array in train])
    levels = per_scan.mean(axis=0)
    if kind == "nyul":
        first, last = levels[0], levels[-1]
        mapped = [[first + (x - row[0]) / (row[-1] - row[0]) * (last - first) for x in row] for row in per_scan]
        levels = np.mean(mapped, axis=0)
    np.testing.assert_allclose(standard.levels, levels, atol=1e-9)
    scan = stored(picture(99) * 1.2)
    marks = slow_landmarks(scan, PERCENTILES[kind])
    expected = [slow_map(v / LEVELS, marks, levels) for v in scan[0, 0, ::7, ::5].ravel()]
    found = standard.apply(scan)
    assert found.dtype == np.uint16
    assert found.shape == scan.shape
    np.testing.assert_allclose(found[0, 0, ::7, ::5].ravel() / LEVELS, expected, atol=1 / LEVELS)


def test_landmarks_worked_out_by_hand():
    """Extremes and median, 0.1, 0.3, 0.5, go to 0.2, 0.4, 0.8: the first piece has slope 1, the second slope 2."""
    image = np.array([[0.0, 0.1, 0.2, 0.3], [0.0, 0.4, 0.5, 0.3]])
    found = THREE.apply(image)
    np.testing.assert_allclose(found, [[0.1, 0.2, 0.3, 0.4], [0.1, 0.6, 0.8, 0.4]], atol=1e-12)


def test_beyond_the_landmarks_the_outermost_slopes_go_on_and_are_clamped():
    standard = Harmonise(kind="nyul", percentiles=(25, 50, 75), levels=(0.1, 0.5, 0.9))
    image = row(0.3, 0.4, 0.5, 0.6, 0.7)  # quartiles 0.4, 0.5, 0.6
    np.testing.assert_allclose(standard.apply(image)[1], [0.0, 0.0, 0.1, 0.5, 0.9, 1.0, 0.0], atol=1e-12)
    gentle = Harmonise(kind="nyul", percentiles=(25, 50, 75), levels=(0.45, 0.5, 0.55))
    np.testing.assert_allclose(gentle.apply(image)[1], [0.25, 0.4, 0.45, 0.5, 0.55, 0.6, 0.25], atol=1e-12)


def test_the_standard_of_two_scans_worked_out_by_hand(monkeypatch):
    """Landmarks (0.1, 0.2, 0.5) and (0.3, 0.6, 0.7): shapes 1/4 and 3/4, ends 0.2 and 0.6."""
    for kind in KINDS:
        monkeypatch.setitem(PERCENTILES, kind, (0.0, 50.0, 100.0))
    scans = [stored(row(0.1, 0.2, 0.5)), stored(row(0.3, 0.6, 0.7))]
    np.testing.assert_allclose(fit_harmonise("nyul", scans).levels, [0.2, 0.4, 0.6], atol=1e-4)
    np.testing.assert_allclose(fit_harmonise("histogram", scans).levels, [0.2, 0.4, 0.6], atol=1e-4)
    scans[1] = stored(row(0.3, 0.36, 0.9))  # shape 1/10; ends 0.2 and 0.7; medians 0.2 and 0.36
    np.testing.assert_allclose(fit_harmonise("nyul", scans).levels, [0.2, 0.2 + 0.5 * 0.175, 0.7], atol=1e-4)
    np.testing.assert_allclose(fit_harmonise("histogram", scans).levels, [0.2, 0.28, 0.7], atol=1e-4)


def test_landmarks_that_coincide_count_as_one_at_the_mean_of_their_levels():
    standard = Harmonise(kind="nyul", percentiles=(0, 25, 50, 75, 100), levels=(0.0, 0.2, 0.4, 0.6, 1.0))
    image = row(0.5, 0.5, 0.5, 0.5, 0.9)  # percentiles: 0.5 four times, 0.9
    np.testing.assert_allclose(standard.apply(image)[1, 1:-1], [0.3, 0.3, 0.3, 0.3, 1.0], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_on_the_standard_scale_stays(kind):
    """Twice is as good as once, and a source scan that is the standard is left alone."""
    one = stored(picture(3))
    standard = fit_harmonise(kind, [one])
    assert np.abs(standard.apply(one).astype(int) - one).max() <= 2
    once = fit_harmonise(kind, sources()).apply(stored(picture(40) ** 2))
    twice = fit_harmonise(kind, sources()).apply(once)
    assert np.abs(twice.astype(int) - once).max() <= 0.003 * LEVELS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [0.6, 1.0, 1.7])
def test_a_scan_seen_through_gamma_and_window_comes_back(kind, gamma):
    """Another monotone curve at the scanner, and the harmonised scan is nearly the same: 15 times nearer or more."""
    standard = fit_harmonise(kind, sources())
    image = picture(50)
    seen = np.clip((image**gamma - 0.006) / 1.1, 0, 1)
    before = np.abs(seen - image).mean()
    there, back = (standard.apply(stored(view)) / LEVELS for view in (image, seen))
    assert before > 0.03
    assert np.abs(there - back).mean() < before / 15
    assert np.abs(there - back).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_narrow_window_cut_off_does_not_move_the_rest(kind):
    """A fifth of the image, at its edges too, is black in one view and dark grey in the other."""
    standard = fit_harmonise(kind, sources())
    image = picture(8)
    bound = np.percentile(image, 20)
    seen = np.clip((image - bound) / (1 - bound), 0, 1)
    plain, back = (standard.apply(stored(view))[0, 0] / LEVELS for view in (image, seen))
    upper = image > np.percentile(image, 33)  # beyond the first landmark that both have
    assert np.abs(seen - image)[upper].mean() > 0.05
    assert np.abs(plain - back)[upper].max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_a_border_does_not_matter(kind, colour):
    """Black or white padding around a scan leaves the values of its inside as they are without it."""
    standard = fit_harmonise(kind, sources())
    image = np.clip(picture(7), 0.05, 0.95)
    padded = np.full((100, 128), colour)
    padded[30:94, 32:96] = image
    inside = standard.apply(stored(padded))[..., 30:94, 32:96]
    np.testing.assert_array_equal(inside, standard.apply(stored(image)))


def test_a_border_is_edge_rows_and_columns_of_one_extreme_value():
    image = np.array(
        [
            [9, 9, 9, 9, 9],
            [9, 0, 0, 0, 9],
            [9, 0, 5, 0, 9],
            [9, 0, 6, 9, 9],
            [9, 9, 9, 9, 9],
        ]
    )
    assert sorted(foreground(image, "border")) == [0, 5, 6, 9]  # white, then black around what is left
    grey = np.pad(np.array([[0, 9], [9, 5]]), 1, constant_values=4)
    assert len(foreground(grey, "border")) == 16  # neither lowest nor highest: not known for a border
    assert foreground(np.full((2, 2), 7), "border").size == 0


def test_dark_parts_inside_the_frame_count():
    image = np.array([[0, 0, 3], [0, 0, 4], [2, 5, 6]])
    assert sorted(foreground(image, "border")) == [0, 0, 0, 0, 2, 3, 4, 5, 6]
    assert sorted(foreground(image, "lowest")) == [2, 3, 4, 5, 6]


def test_an_edge_is_one_of_all_slices_together():
    volume = np.zeros((2, 1, 4, 4), int)
    volume[0, 0, 1, 1], volume[1, 0, 2, 2] = 3, 5
    assert sorted(foreground(volume, "border")) == [0, 0, 0, 0, 0, 0, 3, 5]


def test_volumes_leave_their_air_out():
    """Twice as much air, and the body looks the same; the rule is recorded with the standard."""
    body = np.concatenate([stored(picture(n)) for n in range(4)])
    wide = np.zeros((4, 1, 128, 128), np.uint16)
    wide[..., 30:94, 30:94] = body
    wide[..., 5, 5] = 1  # a speck: the frame is not constant
    wide[..., 120, 125] = 1
    body[0, 0, 0, 0] = 0
    standard = fit_harmonise("nyul", [body])
    assert standard.background == "lowest"
    assert fit_harmonise("nyul", sources(1)).background == "border"
    found = standard.apply(wide)[..., 30:94, 30:94].astype(int) - standard.apply(body)
    assert np.abs(found[:, :, 1:, 1:]).max() < 0.005 * LEVELS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image", [np.full((8, 8), 0.4), np.pad(np.full((4, 4), 0.5), 2)])
def test_what_has_nothing_to_stretch_stays(kind, image):
    standard = fit_harmonise(kind, sources(3))
    np.testing.assert_array_equal(standard.apply(stored(image)), stored(image))
    np.testing.assert_array_equal(standard.apply(image), image)


def test_all_slices_of_a_volume_get_one_curve():
    volume = np.concatenate([stored(picture(n) * (0.3 + 0.1 * n)) for n in range(4)])
    found = fit_harmonise("nyul", sources()).apply(volume)
    table = {}
    for before, after in zip(volume.ravel().tolist(), found.ravel().tolist(), strict=True):
        assert table.setdefault(before, after) == after


def test_floats_and_levels_are_the_same_scan():
    standard = fit_harmonise("nyul", sources(4))
    scan = stored(picture(9))
    found = standard.apply(scan / LEVELS)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, standard.apply(scan) / LEVELS, atol=1 / LEVELS)
    assert standard.apply((scan / LEVELS).astype(np.float32)).dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    scan=arrays.arrays(np.uint16, (2, 1, 6, 6), elements=st.integers(0, LEVELS)),
    kind=st.sampled_from(KINDS),
)
def test_darker_stays_darker_and_values_stay_in_range(scan, kind):
    before = scan.copy()
    found = fit_harmonise(kind, [stored(picture(1))]).apply(scan)
    np.testing.assert_array_equal(scan, before)
    order = scan.ravel().argsort(kind="stable")
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()
    assert found.dtype == np.uint16


def test_a_standard_needs_a_scan_with_contrast():
    flat = np.full((1, 1, 4, 4), 7, np.uint16)
    with pytest.raises(CohortError, match="none of 2 source scans"):
        fit_harmonise("nyul", [flat, stored(np.pad(np.ones((2, 2)), 1))])
    assert fit_harmonise("nyul", [flat, stored(picture(1))]) == fit_harmonise("nyul", [stored(picture(1))])


def test_another_kind_is_refused():
    with pytest.raises(ConfigError, match="expected one of nyul, histogram"):
        fit_harmonise("zscore", sources(1))


@pytest.mark.parametrize(
    "fields",
    [
        {"levels": (0.1, 0.5)},
        {"levels": (0.1, 0.5, 0.4)},
        {"levels": (0.5, 0.5, 0.5)},
        {"levels": (0.1, 0.5, 1.2)},
        {"levels": (0.1, 0.5, math.nan)},
        {"percentiles": (0.0, 50.0, 50.0)},
        {"percentiles": (0.0, 50.0, 101.0)},
        {"percentiles": (50.0,), "levels": (0.5,)},
        {"kind": "zscore"},
        {"background": "air"},
        {"more": 1},
    ],
)
def test_a_standard_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError):
        Harmonise(**({"kind": "nyul", "percentiles": (0.0, 50.0, 100.0), "levels": (0.1, 0.5, 0.9)} | fields))


def test_a_standard_survives_being_written():
    standard = fit_harmonise("histogram", sources(3))
    assert Harmonise.model_validate_json(standard.model_dump_json()) == standard


# in the preparation and in the store

PLAIN = Preparation(kind="photograph", modality="OT", image_size=32, slices=1, intensity="percentile")


def test_digests_from_before_are_still_right():
    """Worked out before there was any harmonisation: caches and bundles hang on them."""
    radiograph = Preparation(kind="radiograph", modality="CR/DX", image_size=224, slices=1, intensity="auto")
    window = (-160.0, 240.0)
    volume = Preparation(kind="volume", modality="CT", image_size=64, slices=24, intensity="window", window=window)
    assert radiograph.digest() == "56a634ab47167eeb"
    assert volume.digest() == "d7a4b5d56f9ba4f6"
    fields = radiograph.model_dump(exclude={"harmonise"})
    assert Preparation.model_validate(fields) == radiograph


def test_another_standard_has_another_digest():
    standards = [fit_harmonise(kind, sources(count)) for kind in KINDS for count in (2, 3)]
    found = [PLAIN.model_copy(update={"harmonise": standard}) for standard in standards]
    assert len({preparation.digest() for preparation in [PLAIN, *found]}) == 5
    assert {preparation.plain().digest() for preparation in found} == {PLAIN.digest()}


def test_harmonising_is_the_last_step_of_prepare():
    scan = Scan(picture(5).astype(np.float32)[:, :, None], np.eye(4), "CR", "1.2", geometry="none")
    plain = Preparation(kind="radiograph", modality="CR/DX", image_size=32, slices=1, intensity="auto")
    standard = fit_harmonise("nyul", sources(3))
    harmonised = plain.model_copy(update={"harmonise": standard})
    expected = standard.apply(prepare(scan, plain).slices)
    np.testing.assert_array_equal(prepare(scan, harmonised).slices, expected)
    assert not np.array_equal(expected, prepare(scan, plain).slices)


@pytest.fixture
def ref(tmp_path):
    (tmp_path / "scans").mkdir()
    Image.fromarray((picture(1, 40) * 255).astype(np.uint8)).save(tmp_path / "scans" / "a.png")
    (found,) = scan_sources([tmp_path / "scans"])
    return found


def test_the_store_decodes_a_series_once_for_all_standards(ref, tmp_path, monkeypatch):
    plain = SampleStore(tmp_path / "cache", PLAIN)
    stores = [
        SampleStore(tmp_path / "cache", PLAIN.model_copy(update={"harmonise": fit_harmonise(kind, sources(2))}))
        for kind in KINDS
    ]
    decoded = []
    real = cache_module.read_scan
    monkeypatch.setattr(cache_module, "read_scan", lambda one: decoded.append(one) or real(one))
    for store in stores:
        store.add(ref)
        scan = real(ref)
        np.testing.assert_array_equal(store.load(ref.key), prepare(scan, store.preparation).slices)
    assert len(decoded) == 1
    assert plain.path(ref.key).exists()
    plain.add(ref)
    assert len(decoded) == 1
