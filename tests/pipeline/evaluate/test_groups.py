import numpy as np

from pipeline.evaluate.groups import group_scopes, worst_group


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
