"""`scanshift check` as a user runs it."""

import json
import shutil

import pytest

PATIENT = "Mueller_Hans"


@pytest.fixture
def scans(samples, tmp_path):
    """A CT series, one with a missing slice and two radiographs, below a folder that names a patient."""
    folder = tmp_path / PATIENT
    shutil.copytree(samples / "ct", folder / "ct")
    shutil.copytree(samples / "broken" / "ct_gap", folder / "gap")
    for path in sorted((samples / "radiographs" / "north").glob("*.dcm"))[:2]:
        shutil.copy(path, folder / f"{PATIENT}_{path.name}")
    return folder


def test_refused_series_are_no_failure(command, scans):
    told = command("check", scans)
    assert told.code == 0, told.error
    assert told.out.splitlines()[-1] == "3 series can be read, 1 refused, 0 ignored"
    assert "MISSING_SLICE: 1 refused" in told.out
    assert PATIENT not in told.out + told.error


def test_json_is_one_object_without_names(command, scans):
    told = command("check", scans, "--json")
    assert told.record["counts"] == {"ok": 3, "refused": 1, "ignored": 0}
    assert told.record["bundle"] is None
    assert PATIENT not in told.out
    assert told.error == ""


def test_names_on_request_are_in_text_and_json_but_in_no_file(command, scans, tmp_path):
    told = command("check", scans, "--names", "--json", "-o", tmp_path / "out")
    assert {row["source"].split("_")[0] for row in told.record["series"]} == {"ct", "gap", "Mueller"}
    assert PATIENT in command("check", scans, "--names").out
    for name in ("check.html", "check.json"):
        assert PATIENT not in (tmp_path / "out" / name).read_text()
    assert PATIENT in (tmp_path / "out" / "series.csv").read_text()


def test_with_a_bundle_the_other_kinds_are_refused(command, scans, radiograph_bundle, tmp_path):
    told = command("check", scans, "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--device", "cpu")
    assert told.code == 0, told.error
    assert told.out.splitlines()[-1] == "2 series would be scored, 2 refused, 0 ignored"
    assert "training set: 0 of 2 patients" in told.out
    assert "time to score: about" in told.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"check.html", "check.json", "series.csv"}


def test_headers_alone_are_enough_for_an_answer(command, scans, radiograph_bundle):
    told = command("check", scans, "--bundle", radiograph_bundle, "--headers-only", "--json")
    assert told.record["counts"] == {"ok": 2, "refused": 2, "ignored": 0}
    assert told.record["time"] is None


@pytest.mark.parametrize("damage", ["no bundle", "altered", "cut"])
def test_a_damaged_bundle_is_told_in_one_line_before_any_work(command, scans, radiograph_bundle, tmp_path, damage):
    bundle = tmp_path / "bundle"
    shutil.copytree(radiograph_bundle, bundle)
    if damage == "no bundle":
        shutil.rmtree(bundle)
    elif damage == "altered":
        (bundle / "configs" / "training_set.json").write_text(json.dumps({"salt": "00"}))
    else:
        (bundle / "models" / "model.pt").unlink()
    told = command("check", scans, "--bundle", bundle, "-o", tmp_path / "out")
    assert (told.code, told.out) == (1, "")
    assert len(told.error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_nothing_to_check_is_told_in_one_line(command, tmp_path, what):
    (tmp_path / "empty").mkdir()
    told = command("check", tmp_path / what, "-o", tmp_path / "out")
    assert (told.code, told.out) == (1, "")
    assert len(told.error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_told_before_any_work(command, scans, tmp_path):
    (tmp_path / "out").write_text("here")
    told = command("check", scans, "-o", tmp_path / "out")
    assert told.code == 1
    assert "not a folder" in told.error


def test_without_a_source_it_is_wrong_use(command):
    assert command("check").code == 2
