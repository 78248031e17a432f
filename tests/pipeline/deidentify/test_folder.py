"""Whole runs: where output may go, what is refused, what hostile and real files do."""

import csv
import json

import pydicom
import pytest

from pipeline.deidentify.folder import write_table
from pipeline.deidentify.secret import Secret, load_secret
from pipeline.errors import ConfigError, KeyFileError, RefusedError
from tests.pipeline.deidentify.builders import ROOT, base


def test_key_is_made_once_and_only_for_the_owner(tmp_path):
    made, told = load_secret(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert len(made.key) == 32
    assert "was made" in told[0]
    assert load_secret(tmp_path / "key") == (made, [])


def test_key_readable_by_others_is_told(tmp_path):
    load_secret(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    assert "chmod 600" in load_secret(tmp_path / "key")[1][0]


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "ab" * 31, "ab" * 33])
def test_what_is_no_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(KeyFileError):
        load_secret(tmp_path / "key")


def test_a_key_that_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(KeyFileError):
        load_secret(tmp_path / "no" / "folder" / "key")


@pytest.mark.parametrize(("source", "dest"), [("in", "in/out"), ("in", "in"), ("in/deep", "in")])
def test_source_and_dest_must_not_lie_in_each_other(ct, save, tmp_path, run, source, dest):
    save(ct(), tmp_path / "in" / "deep" / "one.dcm")
    with pytest.raises(ConfigError):
        run(source, dest)


def test_a_folder_with_anything_else_in_it_is_refused(ct, save, tmp_path, run):
    save(ct(), tmp_path / "in" / "one.dcm")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(RefusedError):
        run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_second_run_needs_the_same_key_and_adds_what_is_new(ct, save, tmp_path, run):
    save(ct(), tmp_path / "in" / "one.dcm")
    run()
    save(ct(), tmp_path / "in" / "two.dcm")
    with pytest.raises(RefusedError):
        run(secret=Secret(b"x" * 32))
    run()
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_what_a_killed_run_had_half_written_goes_with_the_next(ct, save, tmp_path, run):
    save(ct(), tmp_path / "in" / "one.dcm")
    run()
    (written,) = (tmp_path / "out").rglob("*.dcm")
    half = written.with_name(f".{written.name}.123-abcdef.tmp")
    half.write_bytes(b"half")
    run()
    assert not half.exists()
    assert written.exists()


def test_an_interrupted_run_leaves_whole_files_and_can_go_on(ct, save, tmp_path, run, monkeypatch):
    from pipeline.deidentify import folder

    for name in ("a", "b"):
        save(ct(), tmp_path / "in" / f"{name}.dcm")
    real, calls = folder.deidentify, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(folder, "deidentify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert json.loads((tmp_path / "out" / "deidentification.json").read_text())["state"] == "unfinished"
    assert [pydicom.dcmread(path).Rows for path in (tmp_path / "out").rglob("*.dcm")] == [8]
    monkeypatch.undo()
    run()
    assert len(list((tmp_path / "out").rglob("*"))) == 7  # report; patient, series and object of each


@pytest.mark.parametrize("sop_class", [ROOT + "104.1", ROOT + "66", ROOT + "9.4.1", ROOT + "77.1.4.1", "1.2.3.4"])
def test_documents_sound_film_raw_data_and_private_objects_are_refused(ct, one, sop_class):
    assert one(ct(SOPClassUID=sop_class)).startswith("UNSUPPORTED_OBJECT")


def test_an_object_with_the_uid_of_another_does_not_replace_it(ct, save, tmp_path, run):
    ds = ct()
    save(ds, tmp_path / "in" / "a.dcm")
    ds.Rows, ds.Columns = 6, 8
    save(ds, tmp_path / "in" / "b.dcm")
    done = run()
    assert [row.status for row in done.rows] == ["written", "ignored"]
    assert done.rows[1].reason.startswith("DUPLICATE_FILE")
    assert pydicom.dcmread(tmp_path / "out" / done.rows[0].file).Rows == 8


def test_patients_are_told_apart_by_id_and_issuer_and_without_an_id_by_study(ct, save, tmp_path, run):
    for name, tags in {
        "a": {"PatientID": "7", "IssuerOfPatientID": "X"},
        "b": {"PatientID": " 7", "IssuerOfPatientID": "X"},
        "c": {"PatientID": "7", "IssuerOfPatientID": "Y"},
        "d": {"PatientID": "", "StudyInstanceUID": "1.2.3"},
        "e": {"PatientID": "", "StudyInstanceUID": "1.2.3"},
        "f": {"PatientID": "", "StudyInstanceUID": "1.2.4"},
    }.items():
        save(ct(**tags), tmp_path / "in" / f"{name}.dcm")
    a, b, c, d, e, f = (row.file.split("/")[0] for row in run().rows)
    assert a == b
    assert d == e
    assert len({a, c, d, f}) == 4


def test_hostile_files_cost_only_themselves(ct, save, tmp_path, run):
    save(ct(), tmp_path / "in" / "good.dcm")
    good = (tmp_path / "in" / "good.dcm").read_bytes()
    (tmp_path / "in" / "cut.dcm").write_bytes(good[:700])
    (tmp_path / "in" / "empty.dcm").write_bytes(b"")
    at = good.index(b"\x10\x00\x10\x00PN")
    (tmp_path / "in" / "long.dcm").write_bytes(good[:at] + b"\x10\x00\x10\x00UT\0\0\xf0\xff\xff\xff" + good[at + 8 :])
    done = run()
    told = {row.source: row.status for row in done.rows}
    assert told["good.dcm"] == "written"
    assert {told[name] for name in ("cut.dcm", "empty.dcm", "long.dcm")} == {"refused"}


def test_nesting_beyond_reason_is_refused(ct, tmp_path, run):
    good = tmp_path / "in" / "deep.dcm"
    good.parent.mkdir()
    opened = b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000
    head = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    kind = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0"
    good.write_bytes(b"\0" * 128 + b"DICM" + head + kind + opened)
    assert [row.status for row in run().rows] == ["refused"]


def test_the_table_links_sources_to_output_and_is_private(ct, save, tmp_path, run):
    save(ct(), tmp_path / "in" / "a.dcm")
    (tmp_path / "in" / "b.txt").write_text("no")
    done = run()
    write_table(tmp_path / "table.csv", done.rows)
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["source"], row["status"]) for row in rows] == [("a.dcm", "written"), ("b.txt", "ignored")]
    assert (tmp_path / "out" / rows[0]["file"]).is_file()
    assert (tmp_path / "table.csv").stat().st_mode & 0o777 == 0o600


def test_objects_without_pixels_are_no_images(plants, one):
    ds = base(plants, ROOT + "88.11", "SR", ValueType="CONTAINER", ContentSequence=[])
    out = one(ds)
    assert out.Modality == "SR"
    assert "PixelData" not in out


def test_real_files_keep_no_name_and_no_id(shared_folder, tmp_path, run):
    done = run(shared_folder / "dicom", "out", pixels_clean=True)
    written = [row for row in done.rows if row.file]
    assert len(written) > 100
    for row in written:
        before = pydicom.dcmread(shared_folder / "dicom" / row.source, force=True, stop_before_pixels=True)
        after = pydicom.dcmread(tmp_path / "out" / row.file, stop_before_pixels=True)
        texts = [str(element.value) for element in after.iterall() if element.VR not in ("SQ", "UI", "DS", "IS")]
        for name in ("PatientName", "PatientID"):
            value = str(before.get(name) or "").strip()
            if len(value) > 5:  # shorter ones stand by chance within dates and numbers
                assert not any(value in text for text in texts), (row.source, name)
