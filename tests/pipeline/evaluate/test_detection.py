import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve

from pipeline.evaluate.intervals import bca, resampled_weights
from pipeline.evaluate.measure import measure
from pipeline.evaluate.promise import Promise, judge
from pipeline.evaluate.ranking import AT_SPECIFICITY
from tests.pipeline.evaluate.detections import make_detections


def run(table, **options):
    options = {"resamples": 200, "promise": Promise(0.05, 199)} | options
    return measure(table, {"anomaly": 0.95}, 0.95, **options)


def test_each_label_is_measured_against_all_normals_and_no_other_label():
    t = make_detections()
    found = run(t)
    assert list(found["classes"]) == ["anomaly"]
    assert list(found["labels"]) == ["bacterial", "viral"]
    label = np.array(t.labels)
    for name in ("bacterial", "viral"):
        rows = (label == name) | (label == "normal")
        positive, score = label[rows] == name, t.anomaly_score[rows]
        _, fp, fn, tp = confusion_matrix(positive, t.called[rows]).ravel()
        record = found["labels"][name]
        assert record["support"] == positive.sum()
        assert record["n"] == rows.sum()
        assert record["prevalence"] == pytest.approx(positive.mean(), abs=1e-6)
        assert record["auroc"]["value"] == pytest.approx(roc_auc_score(positive, score), abs=1e-6)
        assert record["auprc"]["value"] == pytest.approx(average_precision_score(positive, score), abs=1e-6)
        assert record["sensitivity"]["value"] == pytest.approx(tp / (tp + fn), abs=1e-6)
        assert record["ppv"]["value"] == pytest.approx(tp / (tp + fp), abs=1e-6)
        assert record["specificity"] == found["classes"]["anomaly"]["specificity"]


def test_sensitivity_at_95_specificity_is_the_best_point_of_the_roc_curve():
    t = make_detections(shifted="nih")
    false_share, found_share, _ = roc_curve(t.abnormal, t.anomaly_score, drop_intermediate=False)
    best = found_share[false_share <= 0.05 + 1e-12].max()
    assert run(t)["classes"]["anomaly"][AT_SPECIFICITY]["value"] == pytest.approx(best, abs=1e-6)


def test_ties_across_the_line_are_all_called_or_none():
    score = np.array([0.1] * 18 + [0.9] * 2 + [0.9] * 5 + [0.95] * 5)
    abnormal = np.arange(30) >= 20
    t = make_detections(
        30,
        anomaly_score=score,
        truth=np.stack([~abnormal, abnormal], 1).astype(np.int8),
        labels=tuple(np.where(abnormal, "ill", "normal")),
    )
    assert run(t)["labels"]["ill"][AT_SPECIFICITY]["value"] == 0.5  # at 0.9 two of 20 normals would be called


def test_what_the_policy_decided_counts_and_not_the_threshold():
    t = make_detections()
    nobody = run(make_detections(called=np.zeros(300, bool)))
    assert nobody["classes"]["anomaly"]["sensitivity"]["value"] == 0
    assert nobody["anomaly"]["sensitivity"]["value"] == 0
    assert nobody["false_alarms"]["value"] == 0
    by_threshold = run(make_detections(called=None))
    assert by_threshold == run(t) | {"disagreement": by_threshold["disagreement"]}


def test_false_alarms_and_their_interval_equal_a_slow_loop_over_patients():
    t = make_detections(200, patients=50, seed=3)
    people, patient, normal = int(t.patient_index.max()) + 1, t.patient_index, ~t.abnormal

    def rate(rows):
        return t.called[rows][normal[rows]].mean()

    weights = np.hstack(list(resampled_weights(people, 200, seed=0, size=64)))
    rows = [np.concatenate([np.flatnonzero(patient == p).repeat(int(w[p])) for p in range(people)]) for w in weights.T]
    one_out = np.array([rate(np.flatnonzero(patient != p)) for p in np.unique(patient[normal])])
    slow = bca(rate(np.arange(200)), np.array([rate(r) for r in rows]), one_out)
    found = run(t)["false_alarms"]
    assert found["n"] == normal.sum()
    assert (found["low"], found["high"]) == pytest.approx((slow.low, slow.high), abs=1e-6)
    each = [t.called[normal & (patient == p)].mean() for p in np.unique(patient[normal])]
    assert found["by_patient"]["value"] == pytest.approx(np.mean(each), abs=1e-6)
    assert found["value"] == pytest.approx(1 - run(t)["classes"]["anomaly"]["specificity"]["value"], abs=1e-6)


def test_a_patient_with_many_false_alarms_does_not_break_a_promise_about_patients():
    abnormal = np.zeros(200, bool)
    truth = np.stack([~abnormal, abnormal], 1).astype(np.int8)
    patient = tuple(f"p{max(n, 40)}" for n in range(200))  # one patient of 41 scans, 159 of one
    found = run(
        make_detections(200, truth=truth, labels=("normal",) * 200, patient=patient, called=np.arange(200) < 41)
    )
    assert found["false_alarms"]["value"] == pytest.approx(41 / 200)
    assert found["false_alarms"]["by_patient"]["value"] == pytest.approx(1 / 160)
    assert found["false_alarms"]["promise"] == "kept"


def test_a_promise_broken_at_one_site_is_told_for_that_site():
    found = run(make_detections(600, shifted="nih"))
    sites = found["groups"]["site"]
    assert sites["nih"]["false_alarms"]["promise"] == "broken"
    assert sites["nih"]["false_alarms"]["promised"] == 0.05
    assert sites["gz"]["false_alarms"]["promise"] == "open"
    assert sites["nih"]["labels"]["viral"]["n"] < found["labels"]["viral"]["n"]


@pytest.mark.parametrize(
    ("low", "high", "promise"), [(0.01, 0.05, "kept"), (0.01, 0.06, "open"), (0.05, 0.09, "open"), (0.051, 1, "broken")]
)
def test_a_promise_is_judged_by_the_limits_of_the_interval(low, high, promise):
    assert judge({"value": 0.05, "low": low, "high": high}, Promise(0.05))["promise"] == promise


def test_without_a_promise_or_an_interval_there_is_a_reason():
    assert "promises no" in judge({"value": 0.05, "low": 0.0, "high": 1.0}, None)["promise_reason"]
    found = judge({"value": None, "low": None, "high": None, "reason": "no normal rows"}, Promise(0.05))
    assert found["promise"] is None
    assert "no normal rows" in found["promise_reason"]


def test_spread_of_calibrations_equals_a_simulation():
    rng = np.random.default_rng(0)
    n, rate = 99, 0.05
    k = 5  # of 100 ranks
    true_rates = 1 - np.sort(rng.random((20_000, n)), axis=1)[:, n - k]  # above the k-th largest of n uniforms
    assert Promise(rate, n).spread == pytest.approx(tuple(np.quantile(true_rates, [0.025, 0.975])), abs=0.003)
    assert Promise(rate, n).spread == pytest.approx(tuple(beta.ppf([0.025, 0.975], 5, 95)))
    assert Promise(rate, 19).spread[1] > 0  # exactly enough: 0.05 * 20 = 1
    assert Promise(rate, 18).spread == (0, 0)
    assert Promise(rate).spread is None


def test_a_group_without_normals_is_measured_against_all_of_them():
    t = make_detections()
    found = run(make_detections(groups={"finding": tuple("x" if label == "viral" else "y" for label in t.labels)}))
    group = found["groups"]["finding"]["x"]
    assert group["against"]
    assert group["labels"]["viral"]["against"] == f"all {(~t.abnormal).sum()} normal rows of the whole table"
    assert group["labels"]["viral"]["auroc"] == group["classes"]["anomaly"]["auroc"]
    assert group["false_alarms"]["value"] is None
    assert group["prevalence"] == 1
    assert group["classes"]["anomaly"]["prevalence"] < 1


def test_normals_alone_give_false_alarms_and_reasons_for_the_rest():
    found = run(make_detections(share=0.0))
    assert found["labels"] == {}
    assert found["classes"]["anomaly"]["auroc"]["reason"] == "no positive rows"
    assert found["classes"]["anomaly"][AT_SPECIFICITY]["reason"] == "no positive rows"
    assert found["false_alarms"]["value"] == pytest.approx(0.05, abs=0.03)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_scan_with_two_labels_counts_for_both():
    t = make_detections()
    double = tuple("bacterial|viral" if label == "viral" else label for label in t.labels)
    found = run(make_detections(labels=double))["labels"]
    assert found["bacterial"]["support"] == t.abnormal.sum()
    assert found["viral"]["support"] == (np.array(t.labels) == "viral").sum()


def test_a_table_joins_cases_scores_and_decisions():
    from pipeline.learn.predictions import detection_table
    from pipeline.prepare.cohort import Case
    from pipeline.scan import SeriesRef

    cases = [
        Case(SeriesRef(f"{n}", f"{n}", "ok", content=f"{n}"), labels, f"P{n}", True, "test", (("site", "n"),), n)
        for n, labels in enumerate([("clear",), ("tumour",), ("tumour", "clear")])
    ]
    scale = SimpleNamespace(score01=lambda raw: raw / 10)
    called = np.array([False, True, False])
    t = detection_table(cases, np.array([1.0, 9.0, 2.0]), scale, called, b"k", normal="clear")
    assert t.classes == ("clear", "anomaly")
    assert t.truth.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert t.probability.tolist() == pytest.approx(np.array([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]]))
    assert t.labels == ("clear", "tumour", "tumour|clear")
    assert list(t.findings) == ["tumour"]
    assert t.decided(0.0).tolist() == [False, True, False]
    assert "P0" not in t.patient
