import json

import numpy as np
import pytest

from pipeline.evaluate.groups import SMALL, WITHHELD, group_scopes, weakest_first, worst_group
from pipeline.evaluate.measure import measure
from tests.pipeline.evaluate.detections import make_detections


def group(auroc, n=10):
    number = {"value": auroc, "low": None, "high": None}
    return {"macro": {"auroc": number}, "n": n, "n_patients": n}


def test_worst_group_is_the_lowest_over_all_columns_and_skips_those_without_a_value():
    worst = worst_group({"site": {"a": group(0.9), "b": group(None)}, "sex": {"F": group(0.7, 33), "M": group(0.8)}})
    assert (worst["column"], worst["group"], worst["value"], worst["n"]) == ("sex", "F", 0.7, 33)


def test_no_group_gives_a_reason():
    assert worst_group({})["reason"] == "no grouping column"
    assert worst_group({"site": {"a": group(None)}})["reason"] == "no group has a macro AUROC"


def test_mixed_group_keeps_its_own_rows_and_single_label_group_takes_the_other_side(table):
    truth = np.eye(3, dtype=np.int8)[[0, 1, 2, 1, 1]]
    t = table(
        5,
        truth=truth,
        probability=np.ones((5, 3)) / 3,
        uncalibrated=np.ones((5, 3)) / 3,
        anomaly_score=np.ones(5),
        patient=tuple("abcde"),
        groups={"site": ("x", "x", "x", "y", "y")},
    )
    scopes = group_scopes(t)
    assert [rows.tolist() for rows in scopes["site", "x"].class_rows] == [[0, 1, 2]] * 3
    assert [sorted(rows) for rows in scopes["site", "y"].class_rows] == [[0, 3, 4], [0, 2, 3, 4], [2, 3, 4]]
    assert scopes["site", "y"].against[1] == "all 2 negative rows of the whole table"


def numbers_in(node):
    if isinstance(node, dict):
        return [number for child in node.values() for number in numbers_in(child)]
    if isinstance(node, list):
        return [number for child in node for number in numbers_in(child)]
    return [node] if isinstance(node, int | float) else []


def of_site(table, patients_there, scans=300):
    """A table where one site has few patients, of two scans each."""
    site = np.where(np.arange(scans) < 2 * patients_there, "small", "large")
    return table(scans, patient=tuple(f"p{n // 2}" for n in range(scans)), groups={"site": tuple(site)})


@pytest.mark.parametrize("task", ["multiclass", "one_class"])
def test_a_small_group_has_no_number_and_says_why(table, task):
    t = of_site(make_detections if task == "one_class" else table, SMALL - 1)
    groups = measure(t, {"anomaly": 0.95}, 0.95, resamples=40)["groups"]["site"]
    assert numbers_in(groups["small"]) == []
    assert "against" not in json.dumps(groups["small"])
    assert groups["small"]["n_patients_shown"] == "<10"
    assert groups["small"]["withheld"] == groups["small"]["macro"]["auroc"]["reason"] == WITHHELD
    assert groups["large"]["macro"]["auroc"]["value"] is not None
    assert "withheld" not in groups["large"]
    if task == "one_class":  # neither the labels there nor whether a promise holds
        assert groups["small"]["labels"] == {}
        assert groups["small"]["false_alarms"]["promise"] is None
        assert groups["small"]["false_alarms"]["promise_reason"] == WITHHELD


def test_a_group_of_just_enough_patients_is_shown_with_how_many_and_how_common(table):
    t = of_site(table, SMALL)
    group = measure(t, {}, 0.5, resamples=40)["groups"]["site"]["small"]
    assert (group["n"], group["n_patients"]) == (2 * SMALL, SMALL)
    here = t.truth[: 2 * SMALL]
    assert group["prevalence"] == pytest.approx(1 - here[:, 0].mean(), abs=1e-6)
    assert group["classes"]["viral"]["prevalence"] == pytest.approx(here[:, 2].mean(), abs=1e-6)


def test_prevalence_of_a_group_with_one_label_is_of_the_rows_compared(table):
    label = np.eye(3, dtype=np.int8)[np.arange(300) % 3]
    site = np.where(np.arange(300) % 3 == 1, "ill", "mixed")
    t = table(truth=label, patient=tuple(f"p{n}" for n in range(300)), groups={"site": tuple(site)})
    group = measure(t, {}, 0.5, resamples=20)["groups"]["site"]["ill"]
    assert group["prevalence"] == 1
    assert group["classes"]["bacterial"]["prevalence"] == pytest.approx(100 / 300, abs=1e-6)


def test_the_worst_group_is_none_of_the_small_ones_and_they_come_last(table):
    t = of_site(table, SMALL - 1)
    flipped = t.probability.copy()
    flipped[: 2 * SMALL - 2] = 1 - t.truth[: 2 * SMALL - 2]
    found = measure(table(300, patient=t.patient, groups=t.groups, probability=flipped), {}, 0.5, resamples=20)
    assert found["worst_group"]["group"] == "large"
    assert [name for name, _ in weakest_first(found["groups"]["site"])] == ["large", "small"]
