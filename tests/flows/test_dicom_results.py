"""`scanshift score --dicom-results`: what the user is told, and what not."""

import csv
import os

import pydicom
import pytest

from flows import cli, commands
from tests.flows.conftest import plant


@pytest.fixture
def planted(samples, tmp_path):
    """The sample folder to score, with a patient's name in file names and headers."""
    plant(samples / "incoming", tmp_path / "in" / "Mueller_Hans", [])
    return tmp_path / "in"


def test_results_are_written_and_told_without_identity(command, planted, radiograph_bundle, tmp_path):
    out = tmp_path / "out"
    arguments = ["score", planted, "--bundle", radiograph_bundle, "-o", out, "--device", "cpu", "--dicom-results"]
    told = command(*arguments)
    assert told.code == 0, told.error
    assert told.out.splitlines() == [
        f"scores: {out / 'scores.csv'}",
        f"DICOM results: {out / 'dicom'}",
        "2 refused, 24 scored",
    ]
    assert "Mueller" not in told.out + told.error
    found = sorted((out / "dicom").glob("*.dcm"))
    assert len(found) == 24
    assert {str(pydicom.dcmread(path).PatientName) for path in found} == {"Mueller^Hans"}
    assert not [path for path in out.rglob("*") if "Mueller" in path.name]
    logs = [path.read_bytes() for path in (out / ".scanshift" / "runs").rglob("*.log")]
    assert not [text for text in logs if b"Mueller" in text]
    before = {path: path.stat().st_mtime_ns for path in found}
    assert command(*arguments).code == 0
    assert {path: path.stat().st_mtime_ns for path in found} == before


def test_an_output_that_cannot_be_written_is_one_line_before_any_work(command, incoming, radiograph_bundle, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "dicom").write_text("mine")
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", out, "--dicom-results")
    assert (told.code, told.out) == (1, "")
    assert told.error == f"scanshift: {out / 'dicom'}: not a folder\n"
    assert [path.name for path in out.iterdir()] == ["dicom"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_output_is_one_line_before_any_work(command, incoming, radiograph_bundle, tmp_path):
    folder = tmp_path / "out" / "dicom"
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--dicom-results")
    assert (told.code, told.error) == (1, f"scanshift: {folder}: cannot be written\n")


def test_an_output_that_is_protected_meanwhile_is_one_line_and_scores_stay(
    command, incoming, radiograph_bundle, tmp_path, monkeypatch
):
    def denied(path, **_how):
        raise PermissionError(13, "Permission denied", str(path.parent))

    monkeypatch.setattr("pipeline.score.results.write.whole_file", denied)
    out = tmp_path / "out"
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", out, "--device", "cpu", "--dicom-results")
    assert told.code == 1
    assert told.error.splitlines()[-1] == f"scanshift: {out / 'dicom'}: Permission denied"
    with (out / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 27


def test_none_are_written_unless_asked_for(command, incoming, radiograph_bundle, tmp_path):
    told = command("score", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--device", "cpu")
    assert told.code == 0
    assert "DICOM" not in told.out
    assert not (tmp_path / "out" / "dicom").exists()


def test_scheduled_runs_write_them_too(incoming, tmp_path):
    arguments = ["serve", str(incoming), "--bundle", "b", "-o", str(tmp_path / "out"), "--dicom-results"]
    request = commands.score_request(cli.build_parser().parse_args(arguments))
    assert request.options["dicom_results"] is True
    assert request.options["heatmaps"] is False
