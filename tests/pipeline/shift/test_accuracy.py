import numpy as np
import pytest

from pipeline.shift.accuracy import expected_accuracy, largest_probability, negative_entropy, thresholded
from pipeline.shift.estimable import estimability


def scans(n, sharpness, seed):
    """Two-class probabilities that mean what they say, and truth; a smaller sharpness is a harder set."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-sharpness * rng.normal(size=n)))
    return np.stack([1 - p, p], axis=1), np.eye(2)[(rng.random(n) < p).astype(int)]


def alone(n):
    return np.arange(n)


def estimate(source, truth, target, **options):
    units = options.pop("units", (alone(len(source)), alone(len(target))))
    return expected_accuracy(source, truth, target, units=units, seed=0, **options)


def test_threshold_worked_by_hand():
    # 5 source scores, 2 wrong: 2/5 lie below t = 0.7. Of the target 0.7, 0.9 and 0.95 of 4 reach it.
    source, right = np.array([0.9, 0.5, 0.6, 0.8, 0.7]), np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    target = np.array([0.7, 0.69, 0.9, 0.95])
    once = thresholded(source, right, target, np.ones((5, 1)), np.ones((4, 1)))
    assert once == pytest.approx([3 / 4])


def test_threshold_counts_weights_as_copies():
    rng = np.random.default_rng(0)
    source, target = np.round(rng.random(30), 2), np.round(rng.random(20), 2)
    right = (rng.random(30) < 0.7).astype(float)
    here, there = rng.integers(0, 3, 30), rng.integers(0, 3, 20)
    weighted = thresholded(source, right, target, here[:, None].astype(float), there[:, None].astype(float))
    rows, columns = np.repeat(np.arange(30), here), np.repeat(np.arange(20), there)
    copies = thresholded(
        source[rows], right[rows], target[columns], np.ones((rows.size, 1)), np.ones((columns.size, 1))
    )
    assert weighted == pytest.approx(copies, abs=0.06)  # a score of weight 0 may serve as threshold


def test_scores_by_hand():
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert negative_entropy(p) == pytest.approx([0, -np.log(2)])
    assert largest_probability(p) == pytest.approx([1, 0.5])


def test_on_the_source_itself_every_estimate_is_its_accuracy():
    source, truth = scans(400, 2, 1)
    found = estimate(source, truth, source)
    accuracy = (source.argmax(1) == truth.argmax(1)).mean()
    for number in (found.reference, found.atc_entropy, found.atc_confidence, found.doc):
        assert number.value == pytest.approx(accuracy, abs=1e-6)


def test_the_accuracy_on_harder_scans_lies_in_the_intervals():
    hits = {"atc_entropy": 0, "doc": 0}
    for seed in range(20):
        source, truth = scans(600, 3, seed)
        target, unseen = scans(400, 1.5, seed + 100)
        found = estimate(source, truth, target, resamples=400)
        accuracy = (target.argmax(1) == unseen.argmax(1)).mean()
        assert accuracy < found.reference.value - 0.03
        hits["doc"] += found.doc.low <= accuracy <= found.doc.high
        hits["atc_entropy"] += found.atc_entropy.low <= accuracy <= found.atc_entropy.high
    assert hits["doc"] >= 17
    assert hits["atc_entropy"] >= 15


def test_intervals_are_wider_where_scans_belong_to_few_patients():
    source, truth = scans(200, 2, 3)
    order = np.argsort(source[:, 1])
    source, truth = source[order], truth[order]
    many = estimate(source, truth, source).doc
    few = estimate(source, truth, source, units=(alone(200) // 20, alone(200) // 20)).doc
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_class_weights_make_the_source_count_with_the_targets_mix():
    # Class 0 is always right, class 1 half the time; the target has only class 1.
    truth = np.eye(2)[[0] * 50 + [1] * 50]
    p = np.concatenate([np.full(50, 0.1), np.linspace(0.3, 0.7, 50)])
    source = np.stack([1 - p, p], axis=1)
    found = estimate(source, truth, source[50:], class_weights=np.array([0.0, 2.0]))
    assert found.reference.value == 0.75
    assert found.doc.value == pytest.approx(0.5, abs=0.01)
    assert found.atc_entropy.value == pytest.approx(0.5, abs=0.05)


def test_a_refusal_leaves_no_number_but_the_measured_one():
    source, truth = scans(50, 2, 1)
    found = estimate(source, truth, source, refusal="too far")
    assert not found.estimable
    assert found.reason == "too far"
    assert found.reference.value is not None
    assert all(n.value is None and n.reason == "too far" for n in (found.atc_entropy, found.atc_confidence, found.doc))


FAR = {"shifted": True, "kind": "covariate", "separability_high": 1.0, "output_gap": 0.05}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing about its accuracy"),
        ({"kind": None}, "nothing about its accuracy"),
        ({"kind": "both"}, "nothing about its accuracy"),
        ({"separability_high": None}, "not measured"),
        ({"separability_high": 0.9, "output_gap": 0.3}, "fit no mixture"),
        ({"separability_high": 0.9, "output_gap": None}, "not measured"),
    ],
)
def test_a_number_is_refused(changes, words):
    assert words in estimability(**(FAR | changes))


@pytest.mark.parametrize(
    "changes",
    [{"shifted": False, "kind": "none"}, {"kind": "prevalence"}, {"repaired": True}, {"separability_high": 0.9}],
)
def test_a_number_is_given(changes):
    assert estimability(**(FAR | changes)) == ""
