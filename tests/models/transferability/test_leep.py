import math

import numpy as np
import pytest
import torch

from models.errors import ScoreInputError
from models.transferability.leep import leep


def counted(probabilities, labels):
    """The definition, by counting in loops."""
    n, sources = probabilities.shape
    joint = {
        (y, z): sum(probabilities[i, z] for i in range(n) if labels[i] == y) / n
        for y in set(labels)
        for z in range(sources)
    }
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in range(sources):
            marginal = sum(joint[y, z] for y in set(labels))
            expected += joint[labels[i], z] / marginal * probabilities[i, z]
        total += math.log(expected)
    return total / n


def test_it_is_the_definition_by_counting():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(7, 0.5), size=20)
    labels = [n % 3 for n in range(20)]
    found = leep(torch.from_numpy(probabilities), torch.eye(3)[labels])
    assert found == pytest.approx(counted(probabilities, labels), abs=1e-12)


def test_two_source_classes_worked_by_hand():
    """t = (.8,.2), (.6,.4) for y=0 and (.2,.8), (.4,.6) for y=1: P(0|z=0) = 1.4/2, P(0|z=1) = .6/2."""
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
    # row 0: .7*.8 + .3*.2 = .62; row 1: .7*.6 + .3*.4 = .54; rows 2 and 3 the same by symmetry
    expected = (math.log(0.62) + math.log(0.54)) / 2
    assert leep(probabilities, torch.eye(2)[[0, 0, 1, 1]]) == pytest.approx(expected, abs=1e-7)


def test_a_source_class_for_each_label_is_perfect():
    assert leep(torch.eye(2)[[0, 1, 0, 1]], torch.eye(2)[[1, 0, 1, 0]]) == pytest.approx(0)


def test_one_answer_for_all_is_the_entropy_of_the_labels():
    flat = torch.full((4, 5), 0.2)
    expected = -(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    assert leep(flat, torch.eye(2)[[0, 1, 1, 1]]) == pytest.approx(expected, abs=1e-7)


def test_source_classes_that_never_occur_change_nothing():
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
    wider = torch.cat([probabilities, torch.zeros(4, 3)], dim=1)
    targets = torch.eye(2)[[0, 0, 1, 1]]
    assert leep(wider, targets) == pytest.approx(leep(probabilities, targets))


def test_several_labels_are_the_mean_over_labels():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), size=12)
    targets = torch.from_numpy((rng.random((12, 3)) < 0.5).astype(np.float32))
    expected = np.mean([counted(probabilities, targets[:, c].int().tolist()) for c in range(3)])
    assert leep(torch.from_numpy(probabilities), targets) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bad", [torch.tensor([[0.5, 0.2]] * 4), torch.tensor([[1.5, -0.5]] * 4)])
def test_what_is_no_probability_is_an_error(bad):
    with pytest.raises(ScoreInputError, match="sum to 1"):
        leep(bad, torch.eye(2)[[0, 0, 1, 1]])
