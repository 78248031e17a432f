"""Hand-worked choices."""

import numpy as np

from pipeline.evaluate.predictions import PredictionTable
from pipeline.gallery.choose import Choice, choose


def table(truth, probability, **changes):
    truth, probability = np.array(truth, np.int8), np.array(probability, np.float64)
    fields = {
        "classes": ("normal", "ill"),
        "task": "multiclass",
        "truth": truth,
        "probability": probability,
        "uncalibrated": probability,
        "anomaly_score": 1 - probability[:, 0],
        "patient": tuple(f"p{n}" for n in range(len(truth))),
        "groups": {},
    }
    return PredictionTable(**(fields | changes))


def two(*ill):
    """Probabilities of two classes from that of the second."""
    return [[1 - p, p] for p in ill]


NORMAL, ILL = [1, 0], [0, 1]


def test_the_surest_hits_and_the_furthest_misses_come_first():
    found = choose(table([NORMAL, NORMAL, NORMAL, ILL, ILL, ILL], two(0.4, 0.1, 0.9, 0.7, 0.2, 0.3)), {}, 0.5)
    assert found == [Choice("normal", (1, 0), (2,)), Choice("ill", (3,), (4, 5))]


def test_a_patient_stands_once_on_a_side_and_a_side_ends():
    scores = two(0.9, 0.8, 0.7, 0.6)
    found = choose(table([ILL] * 4, scores, patient=("a", "a", "b", "c")), {}, 0.5, most=2)
    assert found[1] == Choice("ill", (0, 2), ())
    assert found[0] == Choice("normal", (), ())


def test_ties_go_by_row():
    assert choose(table([ILL] * 3, two(0.9, 0.9, 0.9)), {}, 0.5)[1].hits == (0, 1, 2)


def test_with_several_labels_each_threshold_decides():
    several = table(
        [[0, 1, 1], [0, 0, 1]], [[0.1, 0.35, 0.6], [0.2, 0.9, 0.2]], classes=("none", "a", "b"), task="multilabel"
    )
    found = choose(several, {"none": 0.5, "a": 0.3, "b": 0.5}, 0.5)
    assert found[1:] == [Choice("a", (0,), ()), Choice("b", (0,), (1,))]


def test_a_detector_shows_every_label_apart_by_its_decision():
    labels, called = ("normal", "mass", "normal", "cyst|mass"), np.array([False, True, True, False])
    detected = table(
        [NORMAL, ILL, NORMAL, ILL], two(0.1, 0.9, 0.8, 0.3), task="one_class", labels=labels, called=called
    )
    assert choose(detected, {}, 0.5) == [
        Choice("normal", (0,), (2,)),
        Choice("cyst", (), (3,)),
        Choice("mass", (1,), (3,)),
    ]
