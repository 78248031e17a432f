import random

import pytest

from pipeline.errors import RefusedError, SourceError
from pipeline.evaluate.compare.match import match
from pipeline.evaluate.compare.read import read_validated
from pipeline.evaluate.compare.write import compare


def matched(a, b):
    return match(read_validated(a.write(), "A"), read_validated(b.write(), "B"))


def test_order_of_rows_and_classes_and_another_workspaces_pseudonyms_do_not_matter(folder):
    a, b = folder("a", seed=1), folder("b", seed=2)
    plain = matched(a, b)
    random.Random(0).shuffle(b.rows)
    turned = ("source", "series_uid", "label", "anomaly_score", "p_normal", "p_bacteria", "p_virus", "decision")
    b.rows = [{name: row[name] for name in turned} | {"patient": "z" + row["patient"][::-1]} for row in b.rows]
    found = matched(a, b)
    assert (found.second.probability == plain.second.probability).all()
    assert (found.second.truth == plain.second.truth).all()
    assert found.second.patient == plain.second.patient
    assert (found.second.called == plain.second.called).all()


def test_scans_of_one_side_only_are_left_out_and_told(folder, tmp_path):
    a, b = folder("a", seed=1), folder("b", seed=2)
    del a.rows[:10], b.rows[-30:]
    found = compare(a.write(), b.write(), tmp_path / "out")
    assert found["n"] == 160
    assert found["notes"] == ["30 scans of A and 10 scans of B are not in the other, and were left out"]
    assert found["sides"]["a"]["scans"] == 190


def test_where_a_uid_repeats_or_is_empty_the_source_tells_scans_apart(folder):
    a, b = folder("a", seed=1), folder("b", seed=2)
    for side in (a, b):
        side.rows[1]["series_uid"] = side.rows[0]["series_uid"]
        side.rows[2]["series_uid"] = side.rows[3]["series_uid"] = ""
    b.rows[4]["source"] = "/elsewhere/Mueller_4.dcm"  # the UID is enough
    found = matched(a, b)
    assert found.first.n == 200
    b.rows[1]["source"] = b.rows[0]["source"]
    with pytest.raises(RefusedError, match="1 scans of B have the series_uid and source of another"):
        matched(a, b)


def other_uids(_a, b):
    for row in b.rows:
        row["series_uid"] += ".other"


def few_in_both(a, b):
    del a.rows[100:], b.rows[:85]


def few_patients(a, b):
    for side in (a, b):
        for n, row in enumerate(side.rows):
            row["patient"] = f"p{n % 9}"


def another_label(_a, b):
    b.rows[7]["label"] = "virus" if b.rows[7]["label"] != "virus" else "normal"


def other_patients(_a, b):
    b.rows[7]["patient"] = b.rows[8]["patient"] = "one"


def each_alone(_a, b):
    for n, row in enumerate(b.rows):
        row["patient"] = f"line {n}"


def other_class(_a, b):
    for row in b.rows:
        row["p_fungus"] = row.pop("p_virus")
        row["label"] = row["label"].replace("virus", "fungus")


def other_task(_a, b):
    b.metrics["task"] = "multilabel"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_uids, r"0 scans of 0 patients are in both A .200 scans. and B .200 scans., at least 20 scans of 10"),
        (few_in_both, "15 scans of 1. patients are in both"),
        (few_patients, "200 scans of 9 patients are in both"),
        (another_label, "1 of 200 scans have another label in B than in A; validate both models with the same"),
        (other_patients, "do not agree on which scans are of one patient"),
        (each_alone, "do not agree on which scans are of one patient"),
        (other_class, "the classes differ"),
        (other_task, "A is of task multiclass and B of multilabel"),
    ],
)
def test_what_cannot_be_paired_is_refused_and_nothing_is_written(folder, tmp_path, change, words):
    a, b = folder("a", seed=1), folder("b", seed=2)
    change(a, b)
    with pytest.raises(RefusedError, match=words):
        compare(a.write(), b.write(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def drop(column):
    def change(side):
        for row in side.rows:
            del row[column]

    return change


def cell(column, text):
    def change(side):
        side.rows[5][column] = text

    return change


def metric(key, value):
    def change(side):
        side.metrics[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("patient"), r"predictions.csv: no column patient, so it is of an older version; validate again"),
        (drop("decision"), r"predictions.csv: no column decision; give the folder"),
        (cell("p_virus", "nan"), r"predictions.csv, line 7: p_virus is not a number within 0..1"),
        (cell("anomaly_score", "high"), r"line 7: anomaly_score is not a number"),
        (cell("label", "fungus"), r"line 7: its label is none of the classes"),
        (cell("patient", ""), r"a row with a cell missing"),
        (metric("task", "regression"), r"metrics.json: not the metrics of a validation"),
        (metric("classes", {"virus": {}}), r"metrics.json: not the metrics of a validation"),
        (metric("anomaly", None), r"metrics.json: not the metrics of a validation"),
    ],
)
def test_a_folder_that_is_not_a_validations_is_told(folder, change, words):
    side = folder("a")
    change(side)
    with pytest.raises(SourceError, match=words):
        read_validated(side.write(), "A")


def test_missing_and_broken_files_are_told(folder):
    side = folder("a")
    path = side.write()
    (path / "predictions.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="not a table of predictions"):
        read_validated(path, "A")
    (path / "predictions.csv").write_text("source,series_uid,label\n")
    with pytest.raises(SourceError, match="no column anomaly_score"):
        read_validated(path, "A")
    (path / "predictions.csv").unlink()
    with pytest.raises(SourceError, match=r"predictions.csv: cannot be read; give the folder"):
        read_validated(path, "A")
    (path / "metrics.json").write_text("{")
    with pytest.raises(SourceError, match="not the metrics of a validation"):
        read_validated(path, "A")
    with pytest.raises(SourceError, match=r"metrics.json: cannot be read; give the folder"):
        read_validated(path / "missing", "A")


def test_labels_that_spreadsheets_would_take_for_formulas_are_read_as_they_were(folder):
    side = folder("a", classes=("-normal", "@virus", "=bacteria"))
    found = read_validated(side.write(), "A")
    assert {name for label in found.labels for name in label} == {"-normal", "@virus", "=bacteria"}
    assert found.classes == ("-normal", "@virus", "=bacteria")
