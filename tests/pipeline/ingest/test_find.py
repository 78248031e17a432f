"""What is found below a folder, and what is never opened."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pipeline.errors import SourceError
from pipeline.ingest.find import find_files
from pipeline.ingest.scan_folder import scan_sources


def reasons(folder):
    return {ref.source: (ref.status, ref.reason.partition(":")[0]) for ref in scan_sources([folder])}


def test_files_come_sorted_with_posix_sources(tmp_path):
    for name in ("b/x", "a/z/y", "c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [found.source for found in find_files([tmp_path])] == ["a/z/y", "b/x", "c"]


def test_single_file_is_its_own_name(tmp_path):
    (tmp_path / "x.dcm").touch()
    assert [found.source for found in find_files([tmp_path / "x.dcm"])] == ["x.dcm"]


def test_missing_source_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        list(find_files([tmp_path / "nowhere"]))


def test_own_state_is_skipped(tmp_path):
    (tmp_path / ".scanshift").mkdir()
    (tmp_path / ".scanshift" / "x").touch()
    assert list(find_files([tmp_path])) == []


def test_links_never_lead_outside(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.dcm").write_bytes(b"secret")
    (tmp_path / "in" / "folder").symlink_to("../out")
    (tmp_path / "in" / "file.dcm").symlink_to("../out/secret.dcm")
    (tmp_path / "in" / "loop").symlink_to("deep")
    (tmp_path / "in" / "deep" / "up").symlink_to("..")
    (tmp_path / "in" / "gone").symlink_to("nothing")
    assert reasons(tmp_path / "in") == {
        "deep/up": ("ignored", "DUPLICATE_FILE"),
        "file.dcm": ("ignored", "LINK_OUTSIDE"),
        "folder": ("ignored", "LINK_OUTSIDE"),
        "gone": ("refused", "UNREADABLE"),
        "loop": ("ignored", "DUPLICATE_FILE"),
    }


def test_junk_is_named(tmp_path, slices, write):
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "notes.dcm").write_text("call ward 3")
    (tmp_path / "NOTES.IMA").write_text("call ward 3 again")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "a.zip").write_bytes(b"PK")
    os.mkfifo(tmp_path / "pipe")
    report = slices.dataset(0, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    write(report, tmp_path / "sr.dcm")
    write(slices.dataset(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG"), tmp_path / "seg.dcm")
    assert reasons(tmp_path) == {
        "NOTES.IMA": ("refused", "NOT_DICOM"),
        "a.zip": ("ignored", "ARCHIVE"),
        "empty.dcm": ("refused", "EMPTY_FILE"),
        "notes.dcm": ("refused", "NOT_DICOM"),
        "pipe": ("ignored", "NOT_AN_IMAGE"),
        "readme.txt": ("ignored", "NOT_AN_IMAGE"),
        "seg.dcm": ("ignored", "UNSUPPORTED_OBJECT"),
        "sr.dcm": ("ignored", "NO_PIXELS"),
    }


def test_name_that_is_no_utf8_is_told(tmp_path):
    Path(tmp_path / os.fsdecode(b"r\xf6.txt")).write_bytes(b"x")
    (ref,) = scan_sources([tmp_path])
    assert ref.source == "r\\xf6.txt"


EXPECTED = {
    "scored": "ok",
    "refused: volume, not a radiograph": "ok",
    "ignored: duplicate SOPInstanceUID": "ignored DUPLICATE_FILE",
    "refused: empty file": "refused EMPTY_FILE",
    "refused: not DICOM": "refused NOT_DICOM",
    "refused: truncated": "refused TRUNCATED",
    "ignored: no pixel data": "ignored NO_PIXELS",
    "ignored: archive": "ignored ARCHIVE",
    "ignored: link leads outside": "ignored LINK_OUTSIDE",
    "ignored: not an image": "ignored NOT_AN_IMAGE",
}


@pytest.mark.shared
def test_mess_is_told_apart(tmp_path, shared_folder):
    out = tmp_path / "mess"
    tool = shared_folder / "tools" / "make_hospital.py"
    subprocess.run([sys.executable, str(tool), "mess", str(out)], check=True, capture_output=True)
    with Path(out / "expected.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["path"]: EXPECTED[row["expected"]] for row in csv.DictReader(file)}
    found = {
        source: " ".join(part for part in status_and_code if part).replace("TRUNCATED_PIXELS", "TRUNCATED")
        for source, status_and_code in reasons(out).items()
    }
    found = {source: told.replace("TRUNCATED_FILE", "TRUNCATED") for source, told in found.items()}
    assert found == expected


def test_dicomdir_that_names_a_file_outside_opens_nothing_outside(tmp_path, slices, write):
    """DirectoryRecordSequence -> ReferencedFileID ..\\SECRET, as in the traversal that pydicom 3.0.2 closed."""
    write(slices.dataset(0), tmp_path / "SECRET")
    (tmp_path / "in").mkdir()
    record = Dataset()
    record.DirectoryRecordType = "IMAGE"
    record.ReferencedFileID = ["..", "SECRET"]
    index = Dataset()
    index.SOPClassUID, index.SOPInstanceUID = "1.2.840.10008.1.3.10", "1.2.3.98"
    index.DirectoryRecordSequence = [record]
    write(index, tmp_path / "in" / "DICOMDIR")
    for source in ("in", "in/DICOMDIR"):
        opened, told = _watched(tmp_path / source)
        assert told == "DICOMDIR ignored NO_PIXELS"
        assert any(name.endswith("DICOMDIR") for name in opened)
        assert not any("SECRET" in name for name in opened)


WATCH = """
import sys
from pathlib import Path
from pipeline.ingest.scan_folder import scan_sources
sys.addaudithook(lambda event, args: event == "open" and print("opened", args[0]))
for ref in scan_sources([Path(sys.argv[1])]):
    print(ref.source, ref.status, ref.reason.partition(":")[0])
"""


def _watched(source):
    """Names of the files that another process opens to scan a source, and the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", WATCH, str(source)], capture_output=True, text=True, check=True)
    *opened, told = done.stdout.splitlines()
    return opened, told
