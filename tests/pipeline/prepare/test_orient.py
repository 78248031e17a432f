import itertools

import numpy as np
import pytest

from pipeline.prepare.orient import to_lps
from pipeline.scan import Scan

VOXELS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stored(axes, flips):
    """The same volume with its axes in another order and direction, and the affine that says so."""
    voxels = VOXELS.transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for to, axis in enumerate(axes):
        affine[axis, to] = LPS[axis, axis] * (-1 if flips[to] else 1)
        if flips[to]:
            affine[axis, 3] = LPS[axis, axis] * (VOXELS.shape[axis] - 1)
    index = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)
    return Scan(voxels[index], affine, "CT", "1.2")


WAYS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), WAYS)
def test_however_a_volume_is_stored_it_comes_out_the_same(axes, flips):
    np.testing.assert_array_equal(to_lps(stored(axes, flips)), VOXELS)


def test_nibabels_ras_volume_is_flipped_in_its_first_two_axes():
    found = to_lps(Scan(VOXELS, np.diag([2.0, 2.0, 3.0, 1.0]), "CT", "1.2"))
    np.testing.assert_array_equal(found, VOXELS[::-1, ::-1])


def test_an_oblique_volume_goes_to_the_nearest_axes_without_interpolation():
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_array_equal(to_lps(Scan(VOXELS, turn @ LPS, "CT", "1.2")), VOXELS)


def test_colour_keeps_its_last_axis():
    colour = np.stack([VOXELS, VOXELS + 1, VOXELS + 2], axis=-1)
    found = to_lps(Scan(colour, np.eye(4), "US", "1.2"))
    np.testing.assert_array_equal(found, colour[::-1, ::-1])
