import numpy as np
import pytest

from pipeline.errors import CohortError


@pytest.mark.parametrize(
    "changes",
    [
        {"probability": np.ones((300, 2))},
        {"anomaly_score": np.ones(299)},
        {"groups": {"site": ("a",)}},
        {"uncalibrated": np.full((300, 3), np.nan)},
        {"patient": ()},
        {"random_probability": np.ones((3, 3))},
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(table, changes):
    with pytest.raises(CohortError):
        table(**changes)


def test_patients_are_numbered_in_order_of_first_appearance(table):
    t = table(3, ("a", "b", "c"), patient=("z", "a", "z"), groups={})
    assert t.patient_index.tolist() == [0, 1, 0]


def test_one_class_measures_the_anomaly_only(table):
    assert table(classes=("normal", "anomaly"), task="one_class").measured == (1,)
