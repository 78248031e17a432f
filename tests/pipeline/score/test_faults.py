"""What the outside does to a run: full and read-only disks, faults of reading, kills in the middle of a write."""

import csv
import errno
import os
from pathlib import Path

import pytest

from pipeline.errors import Reason, ScanError
from pipeline.ingest import dicom, scan_folder
from pipeline.ingest.dicom_file import open_dicom
from pipeline.score import scorer
from pipeline.score.folder import score_folder
from pipeline.score.passing import NO_MEMORY, told


@pytest.fixture
def undisturbed(incoming, radiograph_bundle, tmp_path):
    score_folder(incoming, radiograph_bundle, tmp_path / "fresh", device="cpu")
    return (tmp_path / "fresh" / "scores.csv").read_bytes()


@pytest.mark.parametrize("name", ["plan.json", "shard-00000.json", "ledger.jsonl", "scores.csv"])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_is_named_and_nothing_is_lost(
    incoming, radiograph_bundle, tmp_path, undisturbed, monkeypatch, name, fault
):
    out = tmp_path / "out"
    real = os.fsync

    def synced(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if path == name or path.startswith(f".{name}."):
            raise OSError(fault, os.strerror(fault))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        with pytest.raises(OSError, match=os.strerror(fault)) as error:
            score_folder(incoming, radiograph_bundle, out, device="cpu")
    assert Path(error.value.filename).name == name
    assert not (out / "scores.csv").exists()
    assert not list(out.rglob("*.tmp"))
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    assert (out / "scores.csv").read_bytes() == undisturbed


def test_what_a_kill_left_of_the_table_goes(incoming, radiograph_bundle, tmp_path, undisturbed):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".scores.csv.123-abc.tmp").write_text("torn")
    (out / ".other.csv.123-abc.tmp").write_text("somebody else's")
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    assert {path.name for path in out.iterdir()} == {".scanshift", "scores.csv", ".other.csv.123-abc.tmp"}
    assert (out / "scores.csv").read_bytes() == undisturbed


def statuses(out):
    with (out / "scores.csv").open(newline="") as file:
        return {row["source"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (OSError(errno.EIO, "Input/output error"), ("failed", "UNREADABLE: Input/output error")),
        (PermissionError(errno.EACCES, "denied"), ("failed", "UNREADABLE: no permission to read the file")),
        (MemoryError(), ("failed", NO_MEMORY.reason)),
    ],
)
def test_a_fault_below_the_reader_fails_and_is_tried_again(
    incoming, radiograph_bundle, tmp_path, undisturbed, monkeypatch, error, wanted
):
    victim = sorted(incoming.rglob("N*.dcm"))[2]

    def opened(path):
        if str(path) == str(victim):
            raise error
        return open_dicom(path)

    with monkeypatch.context() as patch:
        patch.setattr(dicom, "open_dicom", opened)
        counts = score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu")["counts"]
    assert counts == {"scored": 23, "failed": 1, "refused": 2, "ignored": 1}
    assert statuses(tmp_path / "out")[victim.relative_to(incoming).as_posix()] == wanted
    score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == undisturbed


def test_what_a_library_says_of_the_content_is_a_refusal():
    refusal = ScanError(Reason.DECODE_FAILED, "the file cannot be understood (OSError)")
    refusal.__cause__ = OSError("cannot identify image file")
    assert told(refusal).status == "refused"
    assert told(ScanError(Reason.CHANGED_FILE, "gone")).status == "failed"
    assert told(ScanError(Reason.OVER_BUDGET, "too large by its header")).status == "refused"


def test_retry_judges_again_what_was_refused_and_nothing_else(
    incoming, radiograph_bundle, tmp_path, undisturbed, monkeypatch
):
    out, victim = tmp_path / "out", sorted(incoming.rglob("N*.dcm"))[2]
    source, read, looked = victim.relative_to(incoming).as_posix(), [], []
    real, examine = scorer.read_scan, scan_folder.examine

    def no_decoder(ref):
        if ref.source == source:
            raise ScanError(Reason.UNSUPPORTED_SYNTAX, "no decoder")
        return real(ref)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "read_scan", no_decoder)
        score_folder(incoming, radiograph_bundle, out, device="cpu")
    assert statuses(out)[source][0] == "refused"
    before = (out / "scores.csv").read_bytes()
    monkeypatch.setattr(scorer, "read_scan", lambda ref: read.append(ref.source) or real(ref))
    monkeypatch.setattr(
        scan_folder, "examine", lambda file, **more: looked.append(file.path.name) or examine(file, **more)
    )
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    assert (read, looked, (out / "scores.csv").read_bytes()) == ([], [], before)
    score_folder(incoming, radiograph_bundle, out, device="cpu", retry=True)
    assert (read, sorted(looked)) == ([source], ["cut.dcm", "empty.dcm"])
    assert (out / "scores.csv").read_bytes() == undisturbed


def test_a_series_still_refused_after_a_retry_keeps_its_row(incoming, radiograph_bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def no_decoder(_ref):
        raise ScanError(Reason.UNSUPPORTED_SYNTAX, "no decoder")

    monkeypatch.setattr(scorer, "read_scan", no_decoder)
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    before = (out / "scores.csv").read_bytes()
    assert score_folder(incoming, radiograph_bundle, out, device="cpu", retry=True)["counts"]["refused"] == 26
    assert (out / "scores.csv").read_bytes() == before
