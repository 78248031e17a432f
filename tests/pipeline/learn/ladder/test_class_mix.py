"""Probabilities for a target where only the class mix differs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from pipeline.learn.ladder.auto import _for_class_mix
from pipeline.learn.ladder.probe import fit_probe
from pipeline.learn.ladder.problem import Side
from pipeline.shift.number import Number

SOURCE, TARGET = 0.8, 0.3  # share of the second class


def drawn(n, share, seed):
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < share).astype(int)
    return torch.from_numpy(rng.normal(size=(n, 4)) + 0.7 * label[:, None]).float(), torch.eye(2)[label]


def shift(kind, *, detected=True):
    share = tuple(Number(value, None, None, "") for value in (1 - TARGET, TARGET))
    return SimpleNamespace(
        kind=SimpleNamespace(kind=kind), prevalence=SimpleNamespace(detected=detected, target=share, source=())
    )


@pytest.fixture(scope="module")
def fitted():
    features, targets = drawn(2000, SOURCE, 1)
    return fit_probe(features, targets, (4,), "multiclass")


@pytest.fixture(scope="module")
def trial(fitted):
    features, targets = drawn(4000, SOURCE, 2)
    held = Side(tuple(map(str, range(4000))), targets, tuple(map(str, range(4000))))
    return SimpleNamespace(held=held, held_logits=fitted.logits(features))


def test_probabilities_are_honest_at_the_targets_class_mix(fitted, trial):
    found = _for_class_mix(trial, shift("prevalence"))
    features, targets = drawn(20_000, TARGET, 3)
    p = softmax(fitted.logits(features).numpy() / found.temperature + np.array(found.bias), axis=1)[:, 1]
    truth = targets[:, 1].numpy()
    assert p.mean() == pytest.approx(TARGET, abs=0.02)
    for low in np.arange(0, 0.9, 0.2):
        inside = (p >= low) & (p < low + 0.2)
        assert p[inside].mean() == pytest.approx(truth[inside].mean(), abs=0.05)


@pytest.mark.parametrize(
    ("kind", "detected"), [("both", True), ("covariate", True), (None, True), ("prevalence", False)]
)
def test_nothing_is_recalibrated_where_more_than_the_class_mix_differs(trial, kind, detected):
    assert _for_class_mix(trial, shift(kind, detected=detected)) is None
    assert _for_class_mix(trial, None) is None
