"""The way back of maps: planted blobs peak where they were planted, and ramps come back exactly."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.errors import MapError
from pipeline.prepare.orient import to_lps
from pipeline.prepare.samples import LEVELS, Preparation, prepare
from pipeline.scan import Scan

SIZE = 32
TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product([1, -1], repeat=3)))


def preparation(*, slices=24, crop="none", size=SIZE):
    return Preparation(
        kind="volume",
        modality="OT",
        image_size=size,
        slices=slices,
        intensity="auto",
        window=(0.0, 1.0),
        crop=crop,
    )


@st.composite
def volumes(draw):
    """A shape, an affine (permuted, flipped, oblique, anisotropic), and a planted place in voxels."""
    shape = tuple(draw(st.lists(st.integers(9, 70), min_size=3, max_size=3)))
    spacing = np.array(draw(st.lists(st.floats(0.4, 6.0), min_size=3, max_size=3)))
    axes, signs = draw(st.sampled_from(TURNS))
    tilt = Rotation.from_euler("xyz", draw(st.lists(st.floats(-18, 18), min_size=3, max_size=3)), degrees=True)
    affine = np.eye(4)
    affine[:3, :3] = tilt.as_matrix() @ (np.eye(3)[:, axes] * signs) @ np.diag(spacing)
    affine[:3, 3] = draw(st.lists(st.floats(-300, 300), min_size=3, max_size=3))
    share = np.array(draw(st.lists(st.floats(0.1, 0.9), min_size=3, max_size=3)))
    return shape, affine, share * (np.array(shape) - 1)


def planted(shape, affine, place, width):
    """A Gaussian blob on a flat ground, in voxel widths; separable, so that its peak is where it was planted."""
    axes = [np.exp(-0.5 * ((np.arange(n) - p) / w) ** 2) for n, p, w in zip(shape, place, width, strict=True)]
    voxels = 0.9 * np.einsum("i,j,k->ijk", *axes)
    return Scan(voxels.astype(np.float32), affine, "OT", "1.2")


def cells(layout):
    """Size in voxels of the scan of a pixel of the slices and of a slab's bin, along the stored axes; 1 at least."""
    wide, high, deep = (stop - start for start, stop in layout.box)
    bins = [-(-(n + 1) * deep // layout.slices) - n * deep // layout.slices for n in range(layout.slices)]
    turned = (wide / layout.size, high / layout.size, max(bins))
    sides = np.empty(3)
    for side, axis in zip(turned, layout.turn.source, strict=True):
        sides[axis] = max(side, 1.0)
    return sides


@settings(max_examples=120, deadline=None)
@given(volumes(), st.sampled_from([4, 9, 24]), st.sampled_from(["none", "foreground"]))
def test_a_planted_blob_peaks_within_half_a_coarse_cell_in_mm(volume, slices, crop):
    shape, affine, place = volume
    width = np.maximum(np.array(shape) / 9, 1.5)
    scan = planted(shape, affine, place, width)
    sample = prepare(scan, preparation(slices=slices, crop=crop))
    carried = sample.layout.to_source(sample.slices[:, 0].astype(np.float32))
    assert carried.shape == shape
    peak = sample.layout.peak(carried)
    truth = affine[:3, :3] @ place + affine[:3, 3]
    off = np.linalg.inv(affine[:3, :3]) @ (np.array(peak.mm) - truth)
    cell = cells(sample.layout)
    assert (np.abs(off) <= cell / 2 + 0.5 + 1e-6).all()  # half a voxel: a peak is a voxel, the blob lies between them
    reach = np.linalg.norm(affine[:3, :3], axis=0) * (cell / 2 + 0.5)
    assert np.linalg.norm(np.array(peak.mm) - truth) <= reach.sum()


@settings(max_examples=60, deadline=None)
@given(volumes(), st.sampled_from([4, 9, 24]))
def test_a_ramp_drawn_on_the_slices_comes_back_exactly(volume, slices):
    """A map whose pixels hold their own place in mm is, carried back, each voxel's place; constant at the border."""
    shape, affine, _ = volume
    scan = planted(shape, affine, (np.array(shape) - 1) / 2, np.array(shape))
    layout = prepare(scan, preparation(slices=slices)).layout
    first = np.array(layout.source_mm(0, 0, 0))
    along_n = np.array([layout.source_mm(n, 0, 0) for n in range(layout.slices)])[:, None, None]
    along_rows = np.array([layout.source_mm(0, row, 0) for row in range(SIZE)])[None, :, None]
    along_columns = np.array([layout.source_mm(0, 0, column) for column in range(SIZE)])[None, None]
    places = along_n + along_rows + along_columns - 2 * first
    wanted = np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices(shape)) + affine[:3, 3][:, None, None, None]
    inner = tuple(slice(*_inside(side, cell)) for side, cell in zip(shape, cells(layout), strict=True))
    for axis in range(3):
        maps = places[..., axis].astype(np.float32)
        found = layout.to_source(maps)
        np.testing.assert_allclose(found[inner], wanted[axis][inner], atol=2e-3)


def _inside(side, cell):
    margin = int(np.ceil(cell))
    return margin, max(side - margin, margin)


@settings(max_examples=40, deadline=None)
@given(st.permutations([0, 1, 2]), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2))
def test_a_ramp_in_the_scan_survives_preparation_and_way_back(axes, flips, along):
    """In plane 64 voxels on 32 pixels, or 20 on 32; along the slices 2 to a slab: all exact but at the border."""
    turned = np.indices((64, 20, 18))[along] / 64
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])[:, [*axes, 3]]
    affine[:3, :3] *= np.where(flips, -1, 1)
    voxels = np.flip(turned.transpose(axes), [n for n in range(3) if flips[n]])
    scan = Scan(np.ascontiguousarray(voxels, np.float32), affine, "OT", "1.2")
    np.testing.assert_array_equal(to_lps(scan), turned.astype(np.float32))
    sample = prepare(scan, preparation(slices=9))
    carried = sample.layout.to_source(sample.slices[:, 0] / np.float32(LEVELS))
    inner = to_lps(Scan(carried, affine, "OT", "1.2"))[4:-4, 3:-3, 2:-2]
    np.testing.assert_allclose(inner, turned[4:-4, 3:-3, 2:-2], atol=2 / LEVELS)


def test_a_radiograph_by_hand():
    """Four columns on 32 pixels: pixel 0 is centred at (0 + 0.5) / 8 - 0.5 = -0.4375 voxels."""
    scan = Scan(np.arange(8.0, dtype=np.float32).reshape(4, 2, 1), np.eye(4), "OT", "1.2", geometry="none")
    settings_ = preparation().model_copy(update={"kind": "photograph", "window": (0.0, 7.0)})
    layout = prepare(scan, settings_).layout
    np.testing.assert_allclose(layout.source_place(0, 0, 0), [-0.4375, -0.46875, 0])
    np.testing.assert_allclose(layout.source_place(0, 31, 11.5), [1.0, 1.46875, 0])
    assert layout.source_index(0, 31, 31) == (3, 1, 0)
    assert layout.source_mm(0, 0, 0) is None


def test_slabs_by_hand():
    """Ten slices on four slabs: bins 0-2, 2-4, 5-7, 7-9, as adaptive average pooling makes them."""
    scan = planted((9, 9, 10), np.diag([-1.0, -1.0, 1.0, 1.0]), (4, 4, 5), (3, 3, 3))
    layout = prepare(scan, preparation(slices=4)).layout
    assert layout.slice_centres().tolist() == [1.0, 3.0, 6.0, 8.0]
    maps = np.zeros((4, SIZE, SIZE), np.float32)
    maps[1], maps[2] = 3.0, 6.0
    column = layout.to_source(maps)[4, 4]
    np.testing.assert_allclose(column, [0, 0, 1.5, 3, 4, 5, 6, 3, 0, 0], atol=1e-6)


@pytest.mark.parametrize(("slab", "voxel"), [(0, 1), (3, 8)])
def test_a_peak_in_the_outermost_slab_lies_at_its_centre_not_at_the_border(slab, voxel):
    scan = planted((9, 9, 10), np.diag([-1.0, -1.0, 1.0, 1.0]), (4, 4, 5), (3, 3, 3))
    layout = prepare(scan, preparation(slices=4)).layout
    maps = np.zeros((4, SIZE, SIZE), np.float32)
    maps[slab] = 1.0
    assert layout.peak(layout.to_source(maps)).voxel == (4, 4, voxel)


def test_outside_the_crop_is_the_lowest_value_of_the_maps():
    scan = planted((60, 60, 20), np.diag([-1.0, -1.0, 1.0, 1.0]), (30, 30, 10), (5, 5, 6))
    layout = prepare(scan, preparation(crop="foreground")).layout
    maps = np.random.default_rng(0).uniform(-5, -1, (layout.slices, SIZE, SIZE)).astype(np.float32)
    carried = layout.to_source(maps)
    assert carried[0, 0, 0] == maps.min()
    assert carried.min() == maps.min()
    peak = layout.peak(carried)
    assert all(start <= at < stop for at, (start, stop) in zip(peak.voxel, layout.box, strict=True))


def test_maps_of_another_shape_or_not_finite_are_refused():
    layout = prepare(planted((9, 9, 9), np.eye(4), (4, 4, 4), (3, 3, 3)), preparation()).layout
    with pytest.raises(MapError, match=r"maps of shape \(2, 32, 32\), expected \(9, 32, 32\)"):
        layout.to_source(np.zeros((2, SIZE, SIZE), np.float32))
    maps = np.zeros((9, SIZE, SIZE), np.float32)
    maps[3, 2, 1] = np.nan
    with pytest.raises(MapError, match="not finite"):
        layout.to_source(maps)
