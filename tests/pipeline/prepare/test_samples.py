"""The one preparation of training and scoring."""

import numpy as np
import pytest
import torch

from pipeline.errors import Reason, ScanError
from pipeline.prepare.samples import LEVELS, Preparation, prepare, to_tensor
from pipeline.scan import Scan

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def preparation(kind="radiograph", modality="CR/DX", *, size=32, slices=1, window=None, intensity="auto"):
    return Preparation(kind=kind, modality=modality, image_size=size, slices=slices, intensity=intensity, window=window)


def radiograph(voxels, **changes):
    return Scan(np.asarray(voxels, np.float32)[:, :, None], np.eye(4), "CR", "1.2", geometry="none", **changes)


def volume(voxels, affine=LPS):
    return Scan(np.asarray(voxels, np.float32), affine, "CT", "1.2")


VOLUME = preparation("volume", "CT", slices=8, window=(0.0, 1.0))


def test_every_grey_level_of_a_12_bit_detector_survives():
    levels = np.arange(4096.0).reshape(64, 64)
    slices = prepare(radiograph(levels), preparation(size=64, window=(0.0, 4095.0))).slices
    assert slices.dtype == np.uint16
    assert slices.shape == (1, 1, 64, 64)
    back = np.rint(slices[0, 0].astype(float) * 4095 / LEVELS)
    np.testing.assert_array_equal(back, levels.T)  # rows of the image run along J
    np.testing.assert_allclose(to_tensor(slices).numpy()[0, 0], levels.T / 4095, atol=0.5 / LEVELS + 1e-6)


def test_what_lies_outside_the_window_is_clipped():
    slices = prepare(radiograph([[-5.0, 0.0], [1.0, 9.0]] * 16), preparation(size=32, window=(0.0, 1.0))).slices
    assert set(np.unique(slices)) <= set(range(LEVELS + 1))
    assert slices.min() == 0
    assert slices.max() == LEVELS


def test_columns_are_the_last_axis_and_rows_the_one_before():
    """A bright column at I = 3 is a bright column of the image."""
    voxels = np.zeros((32, 32))
    voxels[3, :] = 1
    image = prepare(radiograph(voxels), preparation(window=(0.0, 1.0))).slices[0, 0]
    np.testing.assert_array_equal(image[:, 3], np.full(32, LEVELS))
    assert image.sum() == 32 * LEVELS


def test_resizing_halves_by_averaging():
    """2 x 2 blocks of one value each: with antialiasing a block's inner weights are its own, and a constant stays."""
    constant = np.full((64, 64), 0.25)
    constant[0, 0] = 1.0
    image = prepare(radiograph(constant), preparation(window=(0.0, 1.0))).slices[0, 0] / LEVELS
    np.testing.assert_allclose(image[4:, 4:], 0.25, atol=1e-5)
    mean = prepare(radiograph(np.indices((64, 64)).sum(0) % 2), preparation(window=(0.0, 1.0))).slices / LEVELS
    np.testing.assert_allclose(mean[0, 0, 2:-2, 2:-2], 0.5, atol=1e-4)  # no aliasing of a checkerboard


def test_an_oblong_image_fills_the_square():
    voxels = np.zeros((64, 32))
    voxels[32:] = 1
    image = prepare(radiograph(voxels), preparation(window=(0.0, 1.0))).slices[0, 0]
    assert (image[:, :14] == 0).all()
    assert (image[:, 18:] == LEVELS).all()


def test_the_scan_itself_is_left_as_it_was():
    voxels = np.random.default_rng(0).random((32, 32))
    scan = radiograph(voxels)
    before = scan.voxels.copy()
    prepare(scan, preparation(window=(0.2, 0.4)))
    np.testing.assert_array_equal(scan.voxels, before)


@pytest.mark.parametrize("rule", ["auto", "percentile"])
def test_a_volume_is_the_same_slices_however_it_is_stored(rule):
    voxels = np.random.default_rng(1).random((12, 10, 6)).astype(np.float32)
    settings = preparation("volume", "CT", slices=8, intensity=rule, window=(0.0, 1.0) if rule == "auto" else None)
    plain = prepare(volume(voxels), settings).slices
    flipped = LPS.copy()
    flipped[2] = [0, 0, -1, 5]
    np.testing.assert_array_equal(prepare(volume(voxels[:, :, ::-1], flipped), settings).slices, plain)
    coronal = LPS[:, [0, 2, 1, 3]]
    np.testing.assert_array_equal(prepare(volume(voxels.transpose(0, 2, 1), coronal), settings).slices, plain)
    assert plain.shape == (6, 1, 32, 32)


def test_images_without_geometry_are_not_turned():
    voxels = np.random.default_rng(1).random((32, 32))
    scan = radiograph(voxels)
    image = prepare(scan, preparation(window=(0.0, 1.0))).slices[0, 0]
    np.testing.assert_allclose(image / LEVELS, voxels.T, atol=1e-4)


def test_slices_run_from_feet_to_head_with_the_patients_left_on_the_right():
    voxels = np.zeros((32, 32, 3))
    voxels[-1, 0, 2] = 1  # LPS: left, in front, on top
    slices = prepare(volume(voxels), VOLUME).slices
    assert slices[2, 0, 0, -1] == LEVELS
    assert slices.sum() == LEVELS


def test_more_slices_than_asked_for_are_averaged_into_slabs():
    """Six constant slices into three slabs of two."""
    voxels = np.broadcast_to(np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (32, 32, 6))
    slices = prepare(volume(voxels), preparation("volume", "CT", slices=3, window=(0.0, 1.0))).slices
    assert slices.shape == (3, 1, 32, 32)
    np.testing.assert_allclose(slices[:, 0, 5, 5] / LEVELS, [0.1, 0.5, 0.9], atol=1e-4)


@pytest.mark.parametrize("count", [9, 11, 40, 100])
def test_no_slice_is_skipped_by_slabs(count):
    """A single bright slice shows, wherever it lies."""
    for k in range(count):
        voxels = np.zeros((2, 2, count))
        voxels[:, :, k] = 1
        assert prepare(volume(voxels), preparation("volume", "CT", slices=8, window=(0.0, 1.0))).slices.max() > 0


def test_fewer_slices_stay_as_they_are():
    assert prepare(volume(np.random.default_rng(0).random((4, 4, 3))), VOLUME).slices.shape[0] == 3


def test_a_stack_longer_than_a_chunk_is_the_same_as_slice_by_slice():
    voxels = np.random.default_rng(2).random((8, 8, 70))
    settings = preparation("volume", "CT", slices=100, window=(0.0, 1.0))
    whole = prepare(volume(voxels), settings).slices
    for k in (0, 31, 32, 69):
        single = prepare(volume(voxels[:, :, [k]]), settings).slices
        np.testing.assert_array_equal(whole[k], single[0])


def test_colour_keeps_three_channels_in_their_order():
    voxels = np.zeros((32, 32, 1, 3))
    voxels[..., 0], voxels[..., 2] = 255, 51
    scan = Scan(voxels.astype(np.float32), np.eye(4), "XC", "1.2", geometry="none")
    slices = prepare(scan, preparation("photograph", "XC")).slices
    assert slices.shape == (1, 3, 32, 32)
    assert slices[0, :, 7, 7].tolist() == [LEVELS, 0, LEVELS // 5]


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (volume(np.random.default_rng(0).random((4, 4, 3))), "a volume; this bundle is for a radiograph"),
        (Scan(np.ones((4, 4, 1), np.float32), np.eye(4), "MG", "1.2"), "modality MG; this bundle is for CR/DX"),
    ],
)
def test_another_kind_or_modality_is_not_applicable(scan, words):
    with pytest.raises(ScanError, match=words) as caught:
        prepare(scan, preparation())
    assert caught.value.code == Reason.NOT_APPLICABLE


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", "RG"])
def test_the_modalities_of_plain_radiography_are_one(modality):
    scan = Scan(np.eye(32, dtype=np.float32)[:, :, None], np.eye(4), modality, "1.2", geometry="none")
    assert prepare(scan, preparation()).slices.shape == (1, 1, 32, 32)


def test_a_constant_image_has_no_contrast():
    with pytest.raises(ScanError) as caught:
        prepare(radiograph(np.full((8, 8), 3.0)), preparation())
    assert caught.value.code == Reason.NO_CONTRAST


def test_the_digest_hangs_on_every_setting():
    base = preparation()
    others = [
        base.model_copy(update=change)
        for change in (
            {"image_size": 64},
            {"slices": 2},
            {"window": (0.0, 1.0)},
            {"intensity": "percentile"},
            {"kind": "volume"},
            {"modality": "CT"},
        )
    ]
    assert len({item.digest() for item in [base, preparation(), *others]}) == 1 + len(others)


def test_tensors_are_0_to_1():
    found = to_tensor(np.array([0, LEVELS, LEVELS // 5], np.uint16))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.2]))
