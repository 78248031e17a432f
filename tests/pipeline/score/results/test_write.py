import csv
import dataclasses
import shutil
import stat
from pathlib import Path

import pydicom
import pytest

from pipeline.errors import DiskSpaceError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.score.folder import finish, score_folder
from pipeline.score.listing import INDEX
from pipeline.score.origin import Origin
from pipeline.score.place import state_folder
from pipeline.score.results.write import HEADER, ResultWriter
from pipeline.watch import Watch
from tests.pipeline.score.results.conftest import SCORED
from tests.pipeline.score.results.reading import codes_of, numbers_of

CODES = {"263654008": "anomaly", "17621005": "normal"}


def table(folder, name=INDEX):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finished(folder, bundle, out):
    """Score a folder, then finish the run with DICOM results; their folder, and what was noted."""
    notes = []
    score_folder(folder, bundle, out, device="cpu")
    state = state_folder(out, None)
    run = max((state.root / "runs" / "score").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    options = {"device": "cpu", "heatmaps": False, "dicom_results": True, "watch": Watch(note=notes.append)}
    told = finish(run, state, bundle, out, **options)
    assert told["dicom_results"] == str(out / "dicom")
    return out / "dicom", notes


@pytest.fixture(scope="module")
def once(samples, radiograph_bundle, tmp_path_factory):
    """The results of the sample folder, and what was noted."""
    return finished(samples / "incoming", radiograph_bundle, tmp_path_factory.mktemp("once"))


@pytest.fixture
def scored(samples):
    """Four radiographs with a result that was never computed."""
    return [(ref, SCORED) for ref in scan_sources([samples / "incoming"]) if ref.status == "ok"][:4]


def test_every_scored_series_has_a_report_with_the_numbers_of_scores_csv(once):
    folder, notes = once
    rows = {row["series_uid"]: row for row in table(folder.parent, "scores.csv") if row["status"] == "scored"}
    index = table(folder)
    assert notes == []
    assert list(index[0]) == list(HEADER)
    assert [row["source"] for row in index] == sorted(row["source"] for row in rows.values())
    decisions = set()
    for line in index:
        row, path = rows[line["series_uid"]], folder / line["file"]
        numbers, found = numbers_of(path), codes_of(path)
        assert f"{numbers['Anomaly score']:.4f}" == row["anomaly_score"]
        for name in ("normal", "opacity"):
            assert f"{numbers[f'Probability of {name}']:.4f}" == row[f"p_{name}"]
        assert CODES[found["Decision"].value] == row["decision"]
        assert found["Predicted class"].meaning == row["predicted"]
        dataset = pydicom.dcmread(path)
        (series,) = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        assert series.SeriesInstanceUID == line["series_uid"]
        assert dataset.DeviceSerialNumber == row["model"]
        assert dataset.SOPInstanceUID == line["sop_instance_uid"]
        decisions.add(row["decision"])
    assert decisions == {"normal", "anomaly"}


def test_files_are_private_and_their_names_tell_nothing(once):
    folder, _ = once
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    names = {path.name for path in folder.iterdir()} - {INDEX}
    assert len(names) == 24
    for row in table(folder):
        assert not any(row["series_uid"] in name or Path(row["source"]).stem in name for name in names)
    assert {len(name) for name in names} == {16}


def test_a_second_run_writes_no_report_again(samples, radiograph_bundle, once, monkeypatch):
    folder, _ = once
    before = files(folder)
    monkeypatch.setattr("pipeline.score.results.write.structured_report", None)
    finished(samples / "incoming", radiograph_bundle, folder.parent)
    assert files(folder) == before


def test_what_a_kill_left_out_is_written_and_the_rest_left_alone(scored, model, tmp_path):
    ResultWriter(model[0], tmp_path, model[1]).write(scored)
    before = files(tmp_path)
    names = sorted(name for name in before if name != INDEX)
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes(before[names[1]][:200])  # not of whole_file's making
    (tmp_path / names[2]).write_bytes(b"")
    (tmp_path / INDEX).unlink()
    ResultWriter(model[0], tmp_path, model[1]).write(scored)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert after[names[3]] == before[names[3]]
    for name in names[:3]:
        assert pydicom.dcmread(tmp_path / name).SOPInstanceUID in (tmp_path / INDEX).read_text()


def test_another_bundle_replaces_its_predecessors_reports(scored, model, tmp_path):
    ResultWriter(model[0], tmp_path, model[1]).write(scored)
    before = files(tmp_path)
    other = Origin("cd" * 32, model[1].key)
    rows = ResultWriter(model[0], tmp_path, other).write(scored)
    assert files(tmp_path).keys() == before.keys()
    assert {pydicom.dcmread(tmp_path / row.file).DeviceSerialNumber for row in rows} == {other.model}


def test_a_series_that_is_no_longer_there_loses_its_report_and_strangers_stay(scored, model, tmp_path):
    writer = ResultWriter(model[0], tmp_path, model[1])
    writer.write(scored)
    (tmp_path / "mine.dcm").touch()
    rows = writer.write(scored[:1])
    assert {path.name for path in tmp_path.iterdir()} == {INDEX, rows[0].file, "mine.dcm"}


def test_one_bad_series_stops_nothing_and_is_listed(scored, model, tmp_path):
    moved = dataclasses.replace(scored[1][0], files=(str(tmp_path / "Mueller_gone.dcm"),))
    scored[1] = (moved, SCORED)
    out = tmp_path / "out"
    steps = []
    rows = ResultWriter(model[0], out, model[1]).write(scored, steps.append)
    assert steps == [1] * 4
    notes = {row.source: row.note for row in rows if row.note}
    assert list(notes) == [moved.source]
    assert notes[moved.source].startswith("no DICOM result: ")
    assert "Mueller" not in notes[moved.source]
    assert len(list(out.glob("*.dcm"))) == 3
    assert not list(out.rglob("*.tmp"))


def test_a_report_that_can_no_longer_be_made_does_not_stay_behind(scored, model, tmp_path):
    writer = ResultWriter(model[0], tmp_path, model[1])
    writer.write(scored[:1])
    ref = dataclasses.replace(scored[0][0], files=("/nowhere/x.dcm",))
    (row,) = writer.write([(ref, dataclasses.replace(SCORED, decision="normal"))])
    assert not row.file
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]


def test_what_is_not_dicom_has_no_report_and_is_counted_in_one_line(samples, volume_bundle, tmp_path):
    (tmp_path / "in").mkdir()
    volumes = sorted((samples / "volumes").rglob("*.nii.gz"))[:3]
    for path in volumes:
        shutil.copy(path, tmp_path / "in")
    folder, notes = finished(tmp_path / "in", volume_bundle, tmp_path / "out")
    assert notes == ["3 of 3 scored series are not DICOM and have no DICOM result"]
    assert [path.name for path in folder.iterdir()] == [INDEX]
    assert {row["note"] for row in table(folder)} == {
        "no DICOM result: the series is not DICOM, so that there is no study to put it in"
    }


def test_a_full_disk_leaves_nothing_half_written_and_is_told(scored, model, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.workspace.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ResultWriter(model[0], tmp_path, model[1]).write(scored)
    assert not list(tmp_path.iterdir())


def test_too_little_space_is_told_before_anything_is_written(scored, model, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskSpaceError, match="MiB needed"):
        ResultWriter(model[0], tmp_path, model[1]).write(scored)
    assert not list(tmp_path.iterdir())


def test_the_same_series_twice_is_written_once(scored, model, tmp_path, monkeypatch):
    again = dataclasses.replace(scored[0][0], source="copy")
    made = []
    from pipeline.score.results import write

    real = write.structured_report
    monkeypatch.setattr(write, "structured_report", lambda *arguments: made.append(1) or real(*arguments))
    rows = ResultWriter(model[0], tmp_path, model[1]).write([scored[0], (again, SCORED)])
    assert len({row.file for row in rows}) == len(made) == 1


def test_only_what_was_scored_is_asked_for(once):
    folder, _ = once
    sources = {row["source"] for row in table(folder)}
    refused = {row["source"] for row in table(folder.parent, "scores.csv") if row["status"] != "scored"}
    assert refused
    assert not sources & refused


def test_names_depend_on_the_workspaces_key_alone(scored, model):
    ref = scored[0][0]
    other = Origin("cd" * 32, model[1].key)
    assert other.name(ref) == model[1].name(ref)
    assert Origin(model[1].model, b"l" * 32).name(ref) != model[1].name(ref)
