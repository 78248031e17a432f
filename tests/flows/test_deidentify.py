"""The command line of `deidentify`."""

import csv
import json

import pydicom


def test_deidentify_writes_objects_report_and_table(command, samples, tmp_path):
    arguments = ("deidentify", samples / "ct", tmp_path / "out", "--key", tmp_path / "key")
    told = command(*arguments, "--table", tmp_path / "table.csv")
    assert (told.code, told.out.splitlines()[-1]) == (0, "16 written")
    assert told.out.startswith("key: ")
    written = sorted((tmp_path / "out").rglob("*.dcm"))
    first = written[0].read_bytes()
    assert len(written) == 16
    with (tmp_path / "table.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["written"] * 16
    again = command(*arguments, "--json")
    assert again.code == 0
    assert again.record["files"] == {"written": 16}
    assert again.record["report"] == str(tmp_path / "out" / "deidentification.json")
    assert written[0].read_bytes() == first
    assert json.loads((tmp_path / "out" / "deidentification.json").read_text())["state"] == "finished"
    assert pydicom.dcmread(written[0]).PatientIdentityRemoved == "YES"


def test_the_output_is_read_like_the_source(command, samples, tmp_path):
    command("deidentify", samples / "ct", tmp_path / "out", "--key", tmp_path / "key")
    told = command("convert", tmp_path / "out", "-o", tmp_path / "nifti", "--json")
    assert told.record["counts"]["ok"] == 1


def test_nothing_written_is_exit_1(command, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.txt").write_text("no DICOM")
    told = command("deidentify", tmp_path / "in", tmp_path / "out", "--key", tmp_path / "key")
    assert (told.code, told.out.splitlines()[-1]) == (1, "1 ignored")


def test_an_unusable_key_is_exit_1_and_nothing_is_made(command, samples, tmp_path):
    (tmp_path / "key").write_text("secret")
    told = command("deidentify", samples / "ct", tmp_path / "out", "--key", tmp_path / "key")
    assert (told.code, told.out) == (1, "")
    assert "64 hex digits" in told.error
    assert not (tmp_path / "out").exists()


def test_wrong_use_is_exit_2(command, samples, tmp_path):
    key = ("--key", tmp_path / "key")
    for arguments in (
        (samples / "ct", tmp_path / "out"),
        (samples / "ct", tmp_path / "out", *key, "--mask", "1,2,3"),
        (samples / "ct", tmp_path / "out", *key, "--mask", "0,0,0,5"),
        (samples / "ct", tmp_path / "out", *key, "--table", tmp_path / "out" / "table.csv"),
        (samples / "ct", tmp_path / "out", "--key", tmp_path / "out" / "key"),
        (samples / "ct", samples / "ct" / "out", *key),
    ):
        assert command("deidentify", *arguments).code == 2
    assert not (tmp_path / "out").exists()
