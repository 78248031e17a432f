"""The registry, and what the policies `scanner` and `strong` promise beyond their operations."""

import importlib
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.errors import UnknownNameError
from pipeline.config import AugmentPolicy
from pipeline.prepare.augment import AUGMENTATIONS, augment
from pipeline.prepare.augment.acquisition import ACQUISITION
from pipeline.prepare.augment.scanner import CHANCE
from pipeline.prepare.augment.strong import COUNT, MAGNITUDE, OPERATIONS

scanner_module = importlib.import_module("pipeline.prepare.augment.scanner")
strong_module = importlib.import_module("pipeline.prepare.augment.strong")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bags(*shape, seed=1):
    return torch.rand(*shape, generator=generator(seed))


def test_the_configuration_and_the_registry_know_the_same_policies():
    assert set(AUGMENTATIONS) == set(get_args(AugmentPolicy))


def test_another_policy_is_refused():
    with pytest.raises(UnknownNameError, match="unknown augmentation 'scaner'; did you mean scanner"):
        augment(bags(1, 1, 1, 8, 8), generator(), "scaner")


def test_none_is_none_and_basic_is_the_default():
    slices = bags(2, 1, 1, 16, 16)
    assert torch.equal(augment(slices, generator(), "none"), slices)
    assert torch.equal(augment(slices, generator()), augment(slices, generator(), "basic"))


@pytest.mark.parametrize("policy", sorted(set(AUGMENTATIONS) - {"none"}))
@pytest.mark.parametrize("shape", [(8, 3, 1, 20, 20), (8, 1, 3, 33, 33)])
def test_what_every_policy_promises(policy, shape):
    slices = bags(*shape)
    before, state = slices.clone(), torch.get_rng_state()
    one, same, other = (augment(slices, generator(seed), policy) for seed in (1, 1, 2))
    assert torch.equal(slices, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == slices.shape
    assert one.dtype == torch.float32
    assert 0 <= float(one.min()) <= float(one.max()) <= 1
    assert (one - slices).abs().mean() > 0.005


def test_every_chance_has_its_operation():
    assert set(CHANCE) == set(ACQUISITION)
    assert set(OPERATIONS) > set(ACQUISITION)


def test_each_change_of_the_scanner_happens_as_often_as_it_should(monkeypatch):
    seen = {name: [] for name in ACQUISITION}

    def recorder(name):
        def record(slices, strength, _generator):
            seen[name].extend(strength.tolist())
            return slices

        return record

    monkeypatch.setattr(scanner_module, "ACQUISITION", {name: recorder(name) for name in ACQUISITION})
    augment(torch.zeros(2000, 1, 1, 2, 2), generator(), "scanner")
    for name, strengths in seen.items():
        assert len(strengths) / 2000 == pytest.approx(CHANCE[name], abs=0.05)
        assert abs(np.mean(strengths)) < 0.1
        assert np.std(strengths) == pytest.approx(1 / np.sqrt(3), abs=0.05)
        assert np.abs(strengths).max() <= 1


def test_strong_draws_its_operations_with_equal_chances_at_one_magnitude(monkeypatch):
    seen = {name: [] for name in OPERATIONS}

    def recorder(name):
        def record(slices, strength, _generator):
            seen[name].extend(strength.tolist())
            return slices + 1  # counts how many hit a bag

        return record

    monkeypatch.setattr(strong_module, "OPERATIONS", {name: recorder(name) for name in OPERATIONS})
    found = augment(torch.zeros(3000, 1, 1, 2, 2), generator(), "strong")
    assert set(found.flatten().tolist()) == {float(COUNT)}
    for strengths in seen.values():
        assert len(strengths) / (3000 * COUNT) == pytest.approx(1 / len(OPERATIONS), abs=0.02)
        assert set(np.abs(np.round(strengths, 6))) == {MAGNITUDE}
        assert abs(np.mean(strengths)) < 0.2


def body(side=64):
    """A smooth body with a bright finding of known place."""
    rows, columns = np.mgrid[:side, :side]
    image = 0.4 * np.exp(-((rows - 32) ** 2 + (columns - 32) ** 2) / 500)
    image[20:25, 40:45] += 0.4
    return torch.tensor(image, dtype=torch.float32)


def place_of_finding(picture):
    """Centre of what stands out of its surroundings."""
    smooth = ndimage.gaussian_filter(picture, 1.5) - ndimage.gaussian_filter(picture, 6)
    return np.unravel_index(smooth.argmax(), smooth.shape)


def test_the_scanner_leaves_the_body_where_it_is():
    found = augment(body().expand(100, 1, 1, 64, 64).contiguous(), generator(), "scanner")
    for picture in found[:, 0, 0].numpy():
        row, column = place_of_finding(picture)
        assert abs(row - 22) <= 2
        assert abs(column - 42) <= 2


def test_strong_hides_no_finding_and_mirrors_nothing():
    found = augment(body().expand(200, 1, 1, 64, 64).contiguous(), generator(), "strong")
    for picture in found[:, 0, 0].numpy():
        row, column = place_of_finding(picture)
        assert 10 < row < 34
        assert 32 < column < 56
        assert picture[row, column] - np.median(picture) > 0.15
