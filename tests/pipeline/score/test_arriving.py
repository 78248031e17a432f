"""Files that still arrive, or change between listing and reading, wait for the next run."""

import csv
import os
import shutil

import pytest

from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.stamp import NS, Settling, changed
from pipeline.score import plan as plan_module
from pipeline.score import scorer
from pipeline.score.folder import score_folder

NOW = 1_700_000_000


@pytest.fixture
def scan(incoming):
    """One radiograph, listed as it was changed at the time NOW."""
    path = next(incoming.rglob("N*.dcm"))
    os.utime(path, (NOW, NOW))
    (ref,) = scan_sources([path])
    return path, ref


@pytest.mark.parametrize(
    ("seconds", "later", "arriving"),
    [
        (0, 0, False),
        (0, 0.5, False),
        (60, 0, True),
        (60, 59.9, True),
        (60, 60, False),
        (60, 3600, False),
        (60, -59.9, True),
        (60, -60, False),
        (60, -86400, False),
    ],
)
def test_a_file_has_arrived_when_it_lay_still_long_enough(scan, seconds, later, arriving):
    _, ref = scan
    assert Settling(seconds, int((NOW + later) * NS)).arriving(ref) is arriving


def test_a_file_that_grew_since_it_was_listed_is_arriving_without_any_wait(scan):
    path, ref = scan
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, (NOW, NOW))
    assert changed(ref)
    assert Settling(0, (NOW + 10**6) * NS).arriving(ref)


def test_a_file_that_is_gone_is_not_arriving(scan):
    path, ref = scan
    path.unlink()
    assert changed(ref)
    assert not Settling(60, NOW * NS).arriving(ref)


def test_a_folder_of_our_own_is_not_waited_for(scan):
    path, ref = scan
    assert not Settling(60, NOW * NS, f"{path.parent}/").arriving(ref)


def test_a_series_is_as_young_as_its_youngest_file(samples, tmp_path):
    folder = shutil.copytree(samples / "ct", tmp_path / "ct")
    files = sorted(folder.iterdir())
    for path in files:
        os.utime(path, (NOW - 1000, NOW - 1000))
    os.utime(files[7], (NOW - 5, NOW - 5))
    (ref,) = [ref for ref in scan_sources([folder]) if ref.status == "ok"]
    assert Settling(60, NOW * NS).arriving(ref)
    assert not Settling(4, NOW * NS).arriving(ref)


def rows_of(out):
    with (out / "scores.csv").open(newline="") as file:
        return {row["source"]: row for row in csv.DictReader(file)}


def test_what_arrives_has_no_row_and_is_scored_by_the_next_run(incoming, radiograph_bundle, tmp_path, monkeypatch):
    for path in incoming.rglob("*"):
        os.utime(path, (NOW - 1000, NOW - 1000))
    young = next(incoming.rglob("N*.dcm"))
    half = incoming / "Süd" / "cut.dcm"  # what has arrived of a file looks damaged
    for path in (young, half):
        os.utime(path, (NOW - 10, NOW - 10))
    monkeypatch.setattr(plan_module.time, "time_ns", lambda: NOW * NS)
    first = score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu", settle=60)
    assert first["counts"] == {"scored": 23, "refused": 1, "ignored": 1, "arriving": 2}
    names = {path.relative_to(incoming).as_posix() for path in (young, half)}
    assert not names & rows_of(tmp_path / "out").keys()
    monkeypatch.setattr(plan_module.time, "time_ns", lambda: (NOW + 100) * NS)
    second = score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu", settle=60)
    assert second["counts"] == {"scored": 24, "refused": 2, "ignored": 1}
    score_folder(incoming, radiograph_bundle, tmp_path / "fresh", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "fresh" / "scores.csv").read_bytes()


@pytest.mark.parametrize("fault", ["replaced", "cut", "gone"])
def test_what_changes_before_it_is_read_fails_and_is_read_anew(
    incoming, radiograph_bundle, tmp_path, monkeypatch, fault
):
    files = sorted(incoming.rglob("[NS]*.dcm"))
    victim, other = files[3], files[4].read_bytes()
    source = victim.relative_to(incoming).as_posix()
    real = scorer.read_scan

    def read(ref):
        if ref.source == source:
            if fault == "replaced":
                victim.write_bytes(other[:-2] + b"\1\0")
            elif fault == "cut":
                victim.write_bytes(other[:3000])
            else:
                victim.unlink()
        return real(ref)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "read_scan", read)
        first = score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu")
    row = rows_of(tmp_path / "out")[source]
    assert first["counts"]["failed"] == 1
    assert (row["status"], row["reason"].partition(":")[0], row["anomaly_score"]) == ("failed", "CHANGED_FILE", "")
    score_folder(incoming, radiograph_bundle, tmp_path / "out", device="cpu")
    score_folder(incoming, radiograph_bundle, tmp_path / "fresh", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "fresh" / "scores.csv").read_bytes()
    after = rows_of(tmp_path / "out").get(source, {}).get("status")
    assert after == {"replaced": "scored", "cut": "refused", "gone": None}[fault]


def test_serve_waits_a_minute_and_score_does_not():
    from flows.cli import build_parser

    options = ["in", "--bundle", "b", "-o", "out"]
    assert build_parser().parse_args(["score", *options]).settle == 0
    assert build_parser().parse_args(["serve", *options]).settle == 60
