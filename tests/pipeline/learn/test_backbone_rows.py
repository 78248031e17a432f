import json
import math

import numpy as np
import pytest

from models.errors import WeightsNotFoundError
from pipeline.learn.backbone_rows import BackboneChoice, BackboneRow, choose, ranked
from pipeline.learn.cross_probe import mean_and_error
from pipeline.learn.folds import Fold

FOLDS = [Fold(np.arange(80), np.arange(20))] * 10
NOISE = np.array([0.05, -0.05, 0.02, -0.02, 0.04, -0.04, 0.01, -0.01, 0.03, -0.03])


def row(name, mean, *, features=512, parameters=1000, own=0.0, **fields):
    """A row whose folds share the noise of the patients and have some of their own."""
    values = mean + NOISE + own * np.roll(NOISE, 3)
    auroc, error = mean_and_error(tuple(values), FOLDS)
    fields = {"num_features": features, "parameters": parameters, "auroc": auroc, "error": error} | fields
    return BackboneRow(name, folds=tuple(values.tolist()), **fields)


def names(pair):
    return tuple(one and one.backbone for one in pair)


def test_the_best_two_are_chosen_where_the_paired_differences_are_clear():
    """Each row's own error is about .02, but all rise and fall together: .01 apart is clear."""
    rows = [row("a", 0.80), row("b", 0.82, features=2048), row("c", 0.81, features=64)]
    assert rows[0].error > 0.015
    assert names(choose(rows, FOLDS)) == ("b", "c")


def test_within_one_standard_error_the_one_with_fewer_features_goes_first_and_the_best_second():
    rows = [row("big", 0.82, features=2048), row("small", 0.815, features=64, own=1), row("bad", 0.70, features=8)]
    assert names(choose(rows, FOLDS)) == ("small", "big")


def test_the_best_mean_is_among_the_two_however_many_are_level():
    rows = [
        row("big", 0.82, features=2048),
        *(row(f"s{n}", 0.815 + n / 1000, features=64 + n, own=1) for n in range(3)),
    ]
    assert names(choose(rows, FOLDS)) == ("s0", "big")


def test_where_the_best_is_the_smallest_the_second_is_the_smallest_level_with_the_second_best():
    rows = [row("best", 0.85, features=64), row("wide", 0.80, features=2048), row("slim", 0.797, features=512, own=1)]
    assert names(choose(rows, FOLDS)) == ("best", "slim")


def test_equal_in_all_but_the_number_of_weights_the_lighter_goes_first():
    rows = [row("a", 0.8, parameters=2000), row("b", 0.8, parameters=1000)]
    assert names(choose(rows, FOLDS)) == ("b", "a")


def test_transferability_scores_and_time_decide_nothing():
    rows = [
        row("a", 0.80, logme=5.0, h_score=1.0, leep=-0.1, seconds=0.0),
        row("b", 0.85, logme=-5.0, h_score=0.0, leep=-9.0, seconds=900.0),
    ]
    assert names(choose(rows, FOLDS)) == ("b", "a")


def test_one_measured_row_has_no_second():
    assert names(choose([row("a", 0.8), BackboneRow("b", reason="altered")], FOLDS)) == ("a", None)


def test_without_a_measured_row_every_reason_is_told():
    rows = [BackboneRow("a", reason="altered"), BackboneRow("b", reason="too small")]
    with pytest.raises(WeightsNotFoundError, match=r"no backbone could be measured \(a: altered; b: too small\)"):
        choose(rows, FOLDS)
    with pytest.raises(WeightsNotFoundError, match="none has weights on this machine"):
        choose([], FOLDS)


def test_ranking_is_by_mean_with_the_unmeasured_last():
    rows = [BackboneRow("x", reason="altered"), row("a", 0.7), row("b", 0.9), BackboneRow("c", reason="altered")]
    assert [one.backbone for one in ranked(rows)] == ["b", "a", "c", "x"]


def test_folds_that_one_row_lacks_are_left_out_of_the_comparison():
    a, b = row("a", 0.82, features=99), row("b", 0.80, features=9)
    holes = BackboneRow("a", num_features=99, auroc=a.auroc, error=a.error, folds=(math.nan, *a.folds[1:]))
    assert names(choose([holes, b], FOLDS)) == ("a", "b")


def test_the_record_is_json_without_nan():
    rows = (row("a", 0.8, logme=0.1, scores_reason="no LEEP: no classifier"), BackboneRow("b", reason="altered"))
    record = BackboneChoice(rows[0], None, rows, 2).to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["first"] == "a"
    assert record["second"] is None
    assert record["rows"][0]["auroc"] == pytest.approx(0.8)
    assert record["rows"][0]["leep"] is None
    assert record["rows"][1] == {"backbone": "b", "weights": "", "reason": "altered"}
