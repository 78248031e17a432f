"""Moves of the body go where they say, no further, and mirror nothing."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.prepare.augment.geometry import GEOMETRY, ROTATION, SHEAR, SHIFT, ZOOM

# output to input, in rows and columns, for strength u
INPUT_OF_OUTPUT = {
    "rotate": lambda u: [
        [math.cos(u * ROTATION), math.sin(u * ROTATION)],
        [-math.sin(u * ROTATION), math.cos(u * ROTATION)],
    ],
    "shift_x": lambda u: np.eye(2),
    "shift_y": lambda u: np.eye(2),
    "zoom": lambda u: (1 + u * ZOOM) * np.eye(2),
    "shear_x": lambda u: [[1, 0], [u * SHEAR, 1]],
    "shear_y": lambda u: [[1, u * SHEAR], [0, 1]],
}
OFFSET = {"shift_x": (0, 1), "shift_y": (1, 0)}


def generator():
    return torch.Generator().manual_seed(0)


def smooth(side=48):
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((side, side)), 3)
    return (image - image.min()) / (image.max() - image.min())


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("u", [1.0, -0.6])
def test_a_move_is_scipys(name, u):
    """Bags of two slices, each bag with its own strength."""
    image = smooth()
    slices = torch.tensor(image).float().expand(2, 2, 1, 48, 48)
    found = GEOMETRY[name](slices, torch.tensor([u, 0.0]), generator()).numpy()
    matrix = np.array(INPUT_OF_OUTPUT[name](u))
    shift = np.array(OFFSET.get(name, (0, 0))) * u * SHIFT * 24
    middle = np.array([23.5, 23.5])
    expected = ndimage.affine_transform(image, matrix, middle - matrix @ middle + shift, order=1, mode="nearest")
    np.testing.assert_allclose(found[0, 0, 0], expected, atol=0.01)
    np.testing.assert_allclose(found[0, 1, 0], found[0, 0, 0])
    np.testing.assert_allclose(found[1, 0, 0], image, atol=1e-5)
    assert np.abs(expected - image).max() > 0.1


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("u", [1.0, -1.0])
def test_nothing_is_mirrored_and_the_middle_stays_in_view(name, u):
    """Three spots keep their handedness, and lie within the image."""
    points = [(20, 20), (20, 44), (44, 20)]
    found = []
    for row, column in points:
        image = torch.zeros(1, 1, 1, 64, 64)
        image[..., row - 1 : row + 2, column - 1 : column + 2] = 1
        moved = GEOMETRY[name](image, torch.tensor([u]), generator())[0, 0, 0].numpy()
        assert moved.sum() > 5
        found.append(ndimage.center_of_mass(moved))
    (a, b, c) = (np.array(place) for place in found)
    assert np.linalg.det(np.stack([b - a, c - a])) * np.linalg.det([[0, 24], [24, 0]]) > 0
