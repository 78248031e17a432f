import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from pipeline.evaluate.intervals import bca, resampled_weights
from pipeline.evaluate.measure import measure

THRESHOLDS = {"normal": 0.4, "bacterial": 0.3, "viral": 0.35}


def run(table, thresholds=THRESHOLDS, **options):
    return measure(table, thresholds, 0.5, **({"resamples": 200} | options))


def test_values_equal_scikit_learn(table):
    t = table()
    found = run(t)
    label, top = t.truth.argmax(axis=1), t.probability.argmax(axis=1)
    each = [roc_auc_score(t.truth[:, c], t.probability[:, c]) for c in range(3)]
    assert found["macro"]["auroc"]["value"] == pytest.approx(np.mean(each), abs=1e-6)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(label, top), abs=1e-6)
    assert found["confusion"]["counts"] == confusion_matrix(label, top).tolist()
    assert found["classes"]["viral"]["support"] == int(t.truth[:, 2].sum())
    differ = (t.anomaly_score >= 0.5) != (top != 0)
    assert found["disagreement"]["n"] == differ.sum()
    assert found["anomaly"]["auroc"]["value"] == pytest.approx(roc_auc_score(label != 0, t.anomaly_score), abs=1e-6)


def test_interval_equals_a_slow_loop_that_repeats_the_rows_of_each_patient(table):
    t = table(150, patients=40)
    patient, positive, score = t.patient_index, t.truth[:, 1] == 1, t.probability[:, 1]
    people = patient.max() + 1

    def auroc(rows):
        return roc_auc_score(positive[rows], score[rows])

    weights = np.hstack(list(resampled_weights(people, 100, seed=5, size=30)))
    repeated = [
        np.concatenate([np.flatnonzero(patient == p) for p in range(people) for _ in range(int(w[p]))])
        for w in weights.T
    ]
    replicates = np.array([auroc(rows) for rows in repeated])
    jackknife = np.array([auroc(np.flatnonzero(patient != p)) for p in range(people)])
    slow = bca(auroc(np.arange(150)), replicates, jackknife)
    found = run(t, resamples=100, seed=5)["classes"]["bacterial"]["auroc"]
    assert (found["low"], found["high"]) == pytest.approx((slow.low, slow.high), abs=1e-6)


def test_value_lies_in_its_interval_and_the_record_survives_json(table, numbers):
    found = run(table(random_probability=np.full((300, 3), 1 / 3)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for path, number in numbers(found):
        if number["low"] is not None and number["value"] is not None:
            assert number["low"] <= number["value"] <= number["high"], path
        else:
            assert number["reason"], path


def test_copies_of_a_scan_in_one_patient_do_not_narrow_the_interval(table):
    def width(number):
        return number["high"] - number["low"]

    single = table(120, patient=tuple(f"p{i:03d}" for i in range(120)))
    fourfold = {
        name: np.repeat(getattr(single, name), 4, axis=0)
        for name in ("truth", "probability", "uncalibrated", "anomaly_score")
    }
    fourfold["groups"] = {}
    clustered = table(480, **fourfold, patient=tuple(np.repeat(single.patient, 4)))
    naive = table(480, **fourfold, patient=tuple(f"p{i:03d}" for i in range(480)))
    alone, together, apart = (run(t)["macro"]["auroc"] for t in (single, clustered, naive))
    assert width(together) == pytest.approx(width(alone), abs=1e-6)
    assert width(together) > 1.5 * width(apart)


def test_absent_class_is_null_with_a_reason_and_left_out_of_the_mean(table):
    t = table()
    truth = t.truth.copy()
    truth[truth[:, 2] == 1] = (0, 1, 0)
    found = run(table(truth=truth))
    assert found["classes"]["viral"]["auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no positive rows",
    }
    assert found["classes"]["viral"]["specificity"]["value"] is not None
    assert found["macro"]["classes"] == ["normal", "bacterial"]
    assert found["macro"]["auroc"]["value"] is not None


def test_one_class_present_gives_nulls_and_no_nan(table):
    found = run(table(truth=np.tile(np.array([1, 0, 0], np.int8), (300, 1))))
    json.dumps(found, allow_nan=False)
    assert found["macro"]["auroc"]["value"] is None
    assert found["macro"]["auroc"]["reason"] == "no class has it: no negative rows"
    assert found["worst_group"]["value"] is None


def test_group_with_one_label_is_compared_with_the_other_side_and_says_so(table):
    t = table()
    label = t.truth.argmax(axis=1)
    site = np.where((label == 1) & (np.arange(300) % 2 == 0), "chest clinic", "elsewhere")
    group = run(table(groups={"site": tuple(site)}))["groups"]["site"]["chest clinic"]
    here = site == "chest clinic"
    rows = here | (label != 1)
    expected = roc_auc_score(t.truth[rows, 1], t.probability[rows, 1])
    assert group["classes"]["bacterial"]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert group["classes"]["bacterial"]["against"] == f"all {(label != 1).sum()} negative rows of the whole table"
    assert group["classes"]["normal"]["against"] == f"all {(label == 0).sum()} positive rows of the whole table"
    assert group["against"]
    assert group["n"] == here.sum()


def test_group_equals_a_table_of_its_own_rows(table):
    t = table()
    north = np.array(t.groups["site"]) == "north"
    group = run(t)["groups"]["site"]["north"]
    own = table(
        int(north.sum()),
        truth=t.truth[north],
        probability=t.probability[north],
        uncalibrated=t.uncalibrated[north],
        anomaly_score=t.anomaly_score[north],
        patient=tuple(np.array(t.patient)[north]),
        groups={},
    )
    alone = run(own)
    assert group["macro"]["f1"]["value"] == alone["macro"]["f1"]["value"]
    assert group["calibration"]["ece"]["after"]["value"] == alone["calibration"]["ece"]["after"]["value"]
    assert group["n_patients"] == alone["n_patients"]


def test_worst_group_has_the_lowest_macro_auroc(table):
    found = run(table())
    sites = {name: group["macro"]["auroc"]["value"] for name, group in found["groups"]["site"].items()}
    worst = found["worst_group"]
    assert worst["value"] == min(sites.values()) == sites[worst["group"]]
    assert worst["n"] == found["groups"]["site"][worst["group"]]["n"]


def test_flawless_ranking_still_has_a_lower_limit(table):
    t = table(patient=tuple(f"p{i:03d}" for i in range(300)))
    found = run(table(probability=t.truth.astype(float), patient=t.patient))["classes"]["normal"]["auroc"]
    pairs = min(int(t.truth[:, 0].sum()), 150)
    assert found == {"value": 1.0, "low": round(0.025 ** (1 / pairs), 6), "high": 1.0, "method": "exact"}


def test_single_patient_gives_values_without_intervals(table, numbers):
    found = run(table(patient=("p",) * 300))
    assert found["n_patients"] == 1
    assert found["macro"]["auroc"]["value"] is not None
    assert all(number["low"] is None for _, number in numbers(found))


def test_resamples_in_which_a_class_vanishes_are_left_out_and_counted(table):
    t = table(40, patients=40)
    truth = np.tile(np.array([1, 0, 0], np.int8), (40, 1))
    truth[:2] = (0, 1, 0)
    found = run(table(40, truth=truth, patient=tuple(f"p{i}" for i in range(40)), groups={}))
    assert t.n == 40
    assert 10 < found["classes"]["bacterial"]["auroc"]["resamples_left_out"] < 50  # about 200 exp(-2) = 27


def test_missing_threshold_leaves_only_the_called_metrics_null(table):
    found = run(table(), thresholds={})["classes"]["viral"]
    assert found["threshold"] is None
    assert found["sensitivity"]["reason"] == "no threshold for this class"
    assert found["auroc"]["value"] is not None


def test_pretraining_difference_is_paired(table):
    t = table()
    same = run(table(random_probability=t.probability))["pretraining"]
    assert same["difference"]["value"] == 0
    noise = np.random.default_rng(1).random((300, 3))
    worth = run(table(random_probability=noise))["pretraining"]
    assert worth["difference"]["value"] == pytest.approx(worth["model"]["value"] - worth["random"]["value"], abs=2e-6)
    assert worth["difference"]["low"] > 0


def test_pretraining_without_comparison_says_why(table):
    found = run(table(random_reason="weights: none"))["pretraining"]
    assert found["difference"]["value"] is None
    assert found["reason"] == "weights: none"


def test_multilabel_accuracy_is_every_finding_right(table):
    t = table(task="multilabel")
    truth = t.truth.copy()
    truth[:40, 1:] = 1
    truth[:40, 0] = 0
    found = run(table(task="multilabel", truth=truth))
    called = t.probability[:, 1:] >= [0.3, 0.35]
    expected = (called == truth[:, 1:].astype(bool)).all(axis=1).mean()
    assert found["accuracy"]["value"] == pytest.approx(expected, abs=1e-6)
    assert "every finding" in found["accuracy"]["definition"]
    assert found["confusion"]["reason"]


def test_one_class_task_has_the_anomaly_alone_and_no_calibration(table):
    t = table(classes=("normal", "anomaly"), task="one_class")
    found = run(t, thresholds={"anomaly": 0.5})
    assert list(found["classes"]) == ["anomaly"]
    assert found["classes"]["anomaly"]["sensitivity"] == found["anomaly"]["sensitivity"]
    assert found["calibration"]["ece"]["after"]["reason"]


def test_same_seed_gives_the_same_record_whatever_the_chunk(table, monkeypatch):
    first = run(table())
    monkeypatch.setattr("pipeline.evaluate.estimates.CELLS", 20_000)
    assert run(table()) == first
