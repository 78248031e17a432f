import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.shift.probe import FOLDS, STRENGTHS, _folds, probe_logits


def cloud(n, features=20, *, seed, gap=1.5, classes=2):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % classes
    rows = rng.normal(size=(n, features)).astype(np.float32)
    rows[np.arange(n), label] += gap
    return rows, np.eye(classes, dtype=np.int8)[label]


def names(n, prefix):
    return [f"{prefix}{i // 2}" for i in range(n)]  # two scans a patient


def test_folds_keep_patients_together_on_both_sides():
    label = np.arange(60) % 2
    patients, others = names(60, "p"), [*names(20, "p"), *names(20, "q")]
    here, there = _folds(label, patients, others, 3)
    of = dict(zip(patients, here, strict=True))
    assert all(of[p] == k for p, k in zip(patients, here, strict=True))
    assert all(of.get(p, k) == k for p, k in zip(others, there, strict=True))
    assert set(here.tolist()) == set(range(FOLDS))
    assert np.bincount(here).max() - np.bincount(here).min() <= 4


def test_probe_ranks_scans_that_it_has_not_seen():
    rows, truth = cloud(200, seed=0)
    other, other_truth = cloud(100, seed=1)
    here, there = probe_logits(rows, truth, names(200, "p"), other, names(100, "q"), seed=0)
    assert roc_auc_score(truth[:, 1], here[:, 1] - here[:, 0]) > 0.75
    assert roc_auc_score(other_truth[:, 1], there[:, 1] - there[:, 0]) > 0.75


def test_a_reference_scan_gets_its_logits_from_a_probe_without_its_patient():
    """Against scikit-learn with the same folds, strength by strength."""
    rows, truth = cloud(80, seed=2)
    patients = names(80, "p")
    here, _ = probe_logits(rows, truth, patients, rows[:4], patients[:4], seed=5)
    fold, _ = _folds(truth.argmax(axis=1), patients, patients[:4], 5)
    candidates = []
    for strength in STRENGTHS:
        column = np.zeros(80)
        for k in range(FOLDS):
            model = LogisticRegression(C=strength, max_iter=500).fit(rows[fold != k], truth.argmax(axis=1)[fold != k])
            column[fold == k] = model.decision_function(rows[fold == k])
        candidates.append(column)
    assert any(np.allclose(here[:, 1], column, atol=1e-4) for column in candidates)
    assert (here[:, 0] == 0).all()


def test_the_same_patients_on_both_sides_get_the_same_logits():
    rows, truth = cloud(100, features=60, seed=4, gap=0.3)
    here, there = probe_logits(rows, truth, names(100, "p"), rows, names(100, "p"), seed=1)
    np.testing.assert_array_equal(here, there)


def test_labels_that_say_nothing_leave_logits_without_a_shift():
    """Were incoming scans scored by a mean of probes, their logits would spread less than the reference's."""
    spreads = []
    for seed in range(12):
        rows, truth = cloud(100, features=50, seed=seed, gap=0.0)
        other, _ = cloud(100, features=50, seed=100 + seed, gap=0.0)
        here, there = probe_logits(rows, truth, names(100, "p"), other, names(100, "q"), seed=seed)
        spreads.append(np.log(there[:, 1].std() / here[:, 1].std()))
    assert abs(np.mean(spreads)) < 3 * np.std(spreads, ddof=1) / len(spreads) ** 0.5


def test_three_classes_have_three_columns():
    rows, truth = cloud(120, seed=6, classes=3)
    here, there = probe_logits(rows, truth, names(120, "p"), rows[:10], names(10, "q"), seed=0)
    assert (here.shape, there.shape) == ((120, 3), (10, 3))


def test_a_class_of_one_patient_cannot_be_cross_fitted():
    rows, _ = cloud(40, seed=7)
    truth = np.eye(2, dtype=np.int8)[[1, 1] + [0] * 38]
    assert probe_logits(rows, truth, names(40, "p"), rows[:4], names(4, "q"), seed=0) is None
