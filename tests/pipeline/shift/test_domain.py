import numpy as np
import pytest

from pipeline.errors import ShiftError
from pipeline.shift.domain import Domain, one_scan_each, patient_codes


def domain(**changes):
    fields = {
        "features": np.zeros((3, 2), np.float32),
        "logits": np.zeros((3, 2)),
        "truth": np.eye(2)[[0, 1, 1]],
        "patients": ("b", "a", "b"),
        "headers": {"Age": (1.0, None, 3.0)},
    }
    return Domain(**(fields | changes))


def test_scans_of_one_patient_share_a_number():
    assert domain().units.tolist() == [1, 0, 1]
    assert domain().n_patients == 2
    assert domain().n == 3


def test_an_empty_patient_is_a_patient_of_its_own():
    assert np.unique(patient_codes(["", "a", "", "a"])).size == 3


def test_take_keeps_rows_of_all_fields_together():
    part = domain(features=np.arange(6, dtype=np.float32).reshape(3, 2)).take([2, 1])
    assert part.features.tolist() == [[4, 5], [2, 3]]
    assert part.patients == ("b", "a")
    assert part.headers == {"Age": (3.0, None)}
    assert part.truth.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.zeros((2, 2), np.float32)}, "features has 2 rows, expected 3"),
        ({"features": np.zeros(3, np.float32)}, "1 axes"),
        ({"features": np.full((3, 2), np.nan, np.float32)}, "not finite"),
        ({"logits": np.full((3, 2), np.inf)}, "logits holds values that are not finite"),
        ({"truth": np.eye(3)}, "must agree"),
        ({"truth": np.full((3, 2), 0.5)}, "other than 0 and 1"),
        ({"headers": {"Age": (1.0,)}}, "header field Age: 1 values, expected 3"),
    ],
)
def test_sides_that_do_not_fit_together_are_refused(changes, words):
    with pytest.raises(ShiftError, match=words):
        domain(**changes)


def test_one_scan_of_each_patient_each_equally_often():
    units = np.array([0, 0, 0, 1, 2, 2])
    drawn = np.array([one_scan_each(units, seed) for seed in range(600)])
    assert all(sorted(units[rows]) == [0, 1, 2] for rows in drawn)
    assert np.abs(np.bincount(drawn[:, 0], minlength=3)[:3] - 200).max() < 50
    assert (one_scan_each(units, 5) == one_scan_each(units, 5)).all()
