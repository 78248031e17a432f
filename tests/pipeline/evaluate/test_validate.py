import csv
import json
import shutil
import stat
from pathlib import Path

import pytest

from models.errors import BundleError
from pipeline.config import Config
from pipeline.errors import CohortError, LabelsError, LeakageError
from pipeline.evaluate.validate import validate
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cohort import build_cohort, load_rows
from pipeline.watch import Watch
from pipeline.workspace import Workspace


@pytest.fixture
def labels(samples, tmp_path):
    """Writes a labels.csv of the sample radiographs, each row changed by a function; None leaves it out."""

    def write(change=lambda row: row):
        with (samples / "radiographs" / "labels.csv").open(newline="") as file:
            rows = [row | {"path": str(samples / "radiographs" / row["path"])} for row in csv.DictReader(file)]
        kept = [row for row in map(change, rows) if row]
        path = tmp_path / "labels.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, kept[0].keys())
            writer.writeheader()
            writer.writerows(kept)
        return path

    return write


@pytest.fixture
def run(tmp_path):
    """Validates in a fresh workspace; the notes that are told come along."""

    def call(bundle, labels, workspace="ws"):
        return validate(bundle, labels, Workspace(tmp_path / workspace).open(), tmp_path / "out", Watch())

    return call


def report_of(result):
    return (result.out / "report.html").read_text()


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cases_of(labels):
    config = Config(classes=("normal", "opacity"))
    rows = load_rows(labels, config)
    return build_cohort(labels, rows, scan_sources([Path(row.path) for row in rows]), config).cases


def test_only_test_rows_are_measured(labels, run, radiograph_bundle):
    path = labels()
    result = run(radiograph_bundle, path)
    tested = [row for row in read(path) if row["split"] == "test"]
    assert result.metrics["n"] == len(tested) == 40
    assert result.metrics["n_patients"] == len({row["patient"] for row in tested})
    predictions = read(result.out / "predictions.csv")
    assert {row["source"] for row in predictions} == {row["path"] for row in tested}
    assert "all rows were used" not in report_of(result)


def test_all_rows_are_measured_where_none_is_test(labels, run, radiograph_bundle):
    result = run(radiograph_bundle, labels(lambda row: row | {"split": ""} if row["site"] == "north" else None))
    assert result.metrics["n"] == 60
    assert "no row is test, so all rows were used" in report_of(result)


def test_metrics_are_those_of_the_predictions(labels, run, radiograph_bundle):
    """Accuracy and sensitivity worked out from predictions.csv by counting."""
    result = run(radiograph_bundle, labels())
    rows = read(result.out / "predictions.csv")
    right = sum(row["predicted"] == row["label"] for row in rows) / len(rows)
    assert result.metrics["accuracy"]["value"] == pytest.approx(right)
    ill = [row for row in rows if row["label"] == "opacity"]
    found = sum(float(row["p_opacity"]) >= 0.5 for row in ill) / len(ill)
    assert result.metrics["classes"]["opacity"]["sensitivity"]["value"] == pytest.approx(found)
    pairs = [(float(a["p_opacity"]), float(b["p_opacity"])) for a in ill for b in rows if b["label"] == "normal"]
    auroc = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert result.metrics["classes"]["opacity"]["auroc"]["value"] == pytest.approx(auroc, abs=1e-6)


def test_files_of_the_contract(labels, run, radiograph_bundle):
    result = run(radiograph_bundle, labels())
    assert {path.name for path in result.out.iterdir()} == {
        "metrics.json",
        "per_class.csv",
        "predictions.csv",
        "report.html",
    }
    assert json.loads((result.out / "metrics.json").read_text())["n"] == 40
    predictions = result.out / "predictions.csv"
    assert stat.S_IMODE(predictions.stat().st_mode) == 0o600
    assert list(read(predictions)[0]) == [
        "source",
        "series_uid",
        "label",
        "predicted",
        "anomaly_score",
        "p_normal",
        "p_opacity",
        "decision",
        "reason",
        "called",
        "patient",
    ]
    assert len({row["patient"] for row in read(predictions)}) == result.metrics["n_patients"]
    assert {row["class"] for row in read(result.out / "per_class.csv")} >= {"normal", "opacity"}
    assert set(result.metrics["groups"]["site"]) == {"north", "south"}


def test_report_and_metrics_name_nobody(labels, run, radiograph_bundle):
    result = run(radiograph_bundle, labels(lambda row: row | {"patient": f"Mueller_Hans_{row['patient']}"}))
    uids = [row["series_uid"] for row in read(result.out / "predictions.csv")]
    for name in ("report.html", "metrics.json", "per_class.csv"):
        text = (result.out / name).read_text()
        assert "Mueller" not in text
        assert not [uid for uid in uids if uid in text]
        assert ".dcm" not in text


def test_patients_of_predictions_are_pseudonyms_of_the_workspace(labels, run, radiograph_bundle):
    path = labels()
    known = {row["path"]: row["patient"] for row in read(path)}

    def shown(workspace):
        rows = read(run(radiograph_bundle, path, workspace).out / "predictions.csv")
        return {row["source"]: row["patient"] for row in rows}

    first, again, other = shown("ws"), shown("ws"), shown("other")
    assert first == again
    assert not set(first.values()) & (set(other.values()) | set(known.values()))
    pairs = {(known[source], name) for source, name in first.items()}
    assert len(pairs) == len(set(first.values())) == len({known[source] for source in first})


def test_formulas_in_a_label_are_escaped(labels, run, new_bundle, tmp_path):
    evil = '=HYPERLINK("http://x")'
    bundle = new_bundle(tmp_path / "evil", classes=("normal", evil))
    result = run(bundle, labels(lambda row: row | {"label": evil} if row["label"] == "opacity" else row))
    told = {row["label"] for row in read(result.out / "predictions.csv")}
    assert told == {"normal", f"'{evil}"}


def test_rows_whose_patient_was_in_training_are_left_out(labels, run, new_bundle, tmp_path):
    path = labels()
    cases = cases_of(path)
    tested = [case for case in cases if case.split == "test"]
    known = {case.patient for case in tested[:3]}
    bundle = new_bundle(tmp_path / "bundle", seen=[case for case in tested if case.patient in known])
    result = run(bundle, path)
    gone = sum(case.patient in known for case in tested)
    assert result.metrics["n"] == 40 - gone
    assert f"{gone} rows were left out because their patient or scan was in training" in report_of(result)


def test_a_scan_that_was_in_training_is_left_out_under_another_patient(labels, run, new_bundle, tmp_path):
    tested = [case for case in cases_of(labels()) if case.split == "test"]
    bundle = new_bundle(tmp_path / "bundle", seen=tested[:1])
    renamed = labels(lambda row: row | {"patient": f"other {row['patient']}"})
    assert run(bundle, renamed).metrics["n"] == 39


def test_nothing_but_training_rows_is_refused(labels, run, new_bundle, tmp_path):
    path = labels()
    bundle = new_bundle(tmp_path / "bundle", seen=cases_of(path))
    with pytest.raises(LeakageError, match="was in training; bring rows that were not"):
        run(bundle, path)
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_read_are_left_out_and_listed(labels, run, radiograph_bundle, samples):
    broken = iter(sorted((samples / "broken").glob("*.dcm")))

    def change(row):
        return row | {"path": str(next(broken, row["path"]))} if row["split"] == "test" else row

    result = run(radiograph_bundle, labels(change))
    assert result.metrics["n"] == 37
    assert len(result.left_out) == 3
    codes = {reason.partition(":")[0] for _, reason in result.left_out}
    assert codes == {"EMPTY_FILE", "NOT_DICOM", "TRUNCATED_PIXELS"}
    assert all(code in report_of(result) for code in codes)


def test_rows_without_a_label_are_not_measured(labels, run, radiograph_bundle):
    result = run(radiograph_bundle, labels(lambda row: row | {"label": ""} if row["site"] == "south" else row))
    assert result.metrics["n"] == 20


def test_scans_of_another_kind_are_refused(run, radiograph_bundle, samples, tmp_path):
    rows = ["path,label", f"{samples / 'volumes' / 'N045456.nii.gz'},normal"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(CohortError, match=r"no row could be measured .NOT_APPLICABLE"):
        run(radiograph_bundle, tmp_path / "labels.csv")
    assert not (tmp_path / "out").exists()


def test_an_unknown_label_is_refused(labels, run, radiograph_bundle):
    with pytest.raises(LabelsError, match=r"'nodule' .* is not in classes"):
        run(radiograph_bundle, labels(lambda row: row | {"label": "nodule"}))


def test_an_altered_bundle_is_refused(labels, run, radiograph_bundle, tmp_path):
    altered = shutil.copytree(radiograph_bundle, tmp_path / "altered")
    with (altered / "configs" / "scanshift.yaml").open("a") as file:
        file.write("\n")
    with pytest.raises(BundleError, match="was altered"):
        run(altered, labels())


def test_a_bundle_without_a_random_reference_says_so(labels, run, radiograph_bundle):
    result = run(radiograph_bundle, labels())
    assert "the bundle holds no reference on random weights" in report_of(result) + json.dumps(result.metrics)


def test_the_same_again_gives_the_same_numbers(labels, run, radiograph_bundle):
    path = labels()
    assert run(radiograph_bundle, path).metrics == run(radiograph_bundle, path).metrics
