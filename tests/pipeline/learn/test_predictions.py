"""Groups of the prediction table."""

import torch

from pipeline.learn.predictions import prediction_table
from pipeline.prepare.cohort import Case
from pipeline.scan import SeriesRef


def table_of(columns, key=b"k"):
    cases = [
        Case(SeriesRef(f"{n}", f"{n}", "ok", content=f"{n}"), (label,), f"P{n}", True, "test", tuple(c.items()), n)
        for n, (label, c) in enumerate(columns)
    ]
    return prediction_table(
        cases,
        torch.zeros(len(cases), 2),
        classes=("normal", "opacity"),
        task="multiclass",
        temperature=1.0,
        key=key,
    )


def test_values_of_a_single_patient_are_not_shown_as_groups():
    names = ["Miller", "Meyer", "Moss", "Mann"]
    rows = [("normal", {"site": "n" if n < 2 else "s", "name": name}) for n, name in enumerate(names)]
    groups = table_of(rows).groups
    assert groups == {"site": ("n", "n", "s", "s")}


def test_a_rare_value_is_put_with_the_others():
    rows = [("normal", {"scanner": name}) for name in ("A", "A", "B", "B", "Dr. Meyer's own")]
    assert table_of(rows).groups["scanner"] == ("A", "A", "B", "B", "(other)")


def test_numbering_of_patients_does_not_depend_on_the_key():
    rows = [("normal", {}), ("opacity", {}), ("normal", {})]
    assert table_of(rows, b"a").patient_index.tolist() == table_of(rows, b"b").patient_index.tolist() == [0, 1, 2]
