"""Made-up predictions for the tests of this folder."""

import numpy as np
import pytest

from pipeline.evaluate.predictions import PredictionTable


def make_table(n=300, classes=("normal", "bacterial", "viral"), *, seed=0, patients=120, signal=1.5, **changes):
    """Softmax scores that know the label a little; patients and sites at random."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(classes), n)
    label[: len(classes)] = range(len(classes))
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), label] += signal

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    fields = {
        "classes": tuple(classes),
        "task": "multiclass",
        "truth": np.eye(len(classes), dtype=np.int8)[label],
        "probability": softmax(logits),
        "uncalibrated": softmax(3 * logits),
        "anomaly_score": 1 - softmax(logits)[:, 0],
        "patient": tuple(f"p{i:04d}" for i in rng.integers(0, patients, n)),
        "groups": {"site": tuple(rng.choice(["north", "south"], n))},
    }
    return PredictionTable(**(fields | changes))


@pytest.fixture
def table():
    return make_table


@pytest.fixture
def numbers():
    """Every `{value, low, high}` record below a metrics record, with its path."""

    def walk(node, path=()):
        if isinstance(node, dict):
            if {"value", "low", "high"} <= set(node):
                yield path, node
            for key, child in node.items():
                yield from walk(child, (*path, key))

    return walk
