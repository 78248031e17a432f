import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from models.bundle import open_bundle
from models.errors import BundleError
from pipeline.errors import BusyError, DiskSpaceError, SourceError
from pipeline.ingest import scan_folder
from pipeline.score import scorer
from pipeline.score.folder import _scorer_of, finish, plan_scores, score_folder, score_shard, write_plan
from pipeline.score.place import state_folder
from pipeline.watch import Watch
from pipeline.workspace import exclusive

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.score.folder import score_folder
from pipeline.watch import Watch

folder, bundle, out = map(Path, sys.argv[1:4])
chunks, torn = int(sys.argv[4]), sys.argv[5] == "torn"

def bar(title, total):
    steps = []
    def step(n):
        steps.append(n)
        if title == "scoring" and len(steps) == chunks:
            ledger = out / ".scanshift" / "ledger.jsonl"
            if torn:
                os.truncate(ledger, ledger.stat().st_size - 30)
            os.kill(os.getpid(), signal.SIGKILL)
    return step

score_folder(folder, bundle, out, device="cpu", watch=Watch(bar=bar))
"""


@pytest.fixture(scope="module")
def undisturbed(samples, volume_bundle, tmp_path_factory):
    """The bytes of scores.csv of the 24 sample volumes, 12 chunks, scored without interruption."""
    out = tmp_path_factory.mktemp("undisturbed")
    score_folder(samples / "volumes", volume_bundle, out, device="cpu")
    return (out / "scores.csv").read_bytes()


def kill_after(chunks, folder, bundle, out, torn=""):
    """Score in a process of its own that is killed by signal 9 once its ledger has grown by some chunks."""
    arguments = [folder, bundle, out, str(chunks), torn]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(samples, volume_bundle, tmp_path, undisturbed):
    out = tmp_path / "out"
    ledger = out / ".scanshift" / "ledger.jsonl"
    kill_after(1, samples / "volumes", volume_bundle, out)
    assert len(ledger.read_text().splitlines()) == 2
    assert not (out / "scores.csv").exists()
    kill_after(4, samples / "volumes", volume_bundle, out, "torn")
    assert not ledger.read_bytes().endswith(b"\n")
    score_folder(samples / "volumes", volume_bundle, out, device="cpu")
    assert (out / "scores.csv").read_bytes() == undisturbed
    assert len(undisturbed.splitlines()) == 1 + 24 + 1
    assert [path.name for path in out.iterdir() if path.name != ".scanshift"] == ["scores.csv"]


def test_what_was_done_before_the_kill_is_not_read_again(samples, volume_bundle, tmp_path, undisturbed, monkeypatch):
    kill_after(3, samples / "volumes", volume_bundle, tmp_path)
    read = []
    real = scorer.read_scan

    def counted(ref):
        read.append(ref.source)
        return real(ref)

    monkeypatch.setattr(scorer, "read_scan", counted)
    score_folder(samples / "volumes", volume_bundle, tmp_path, device="cpu")
    assert len(read) == 24 - 6
    assert (tmp_path / "scores.csv").read_bytes() == undisturbed


def test_a_second_run_changes_nothing_and_opens_no_scan(samples, incoming, radiograph_bundle, tmp_path, monkeypatch):
    first = score_folder(incoming, radiograph_bundle, tmp_path / "out")
    before = (tmp_path / "out" / "scores.csv").read_bytes()

    def opened(path):
        raise AssertionError(f"{path} was opened again")

    monkeypatch.setattr(scan_folder, "examine", opened)
    monkeypatch.setattr(scorer, "read_scan", opened)
    second = score_folder(incoming, radiograph_bundle, tmp_path / "out")
    assert second == first == {**first, "counts": {"scored": 24, "refused": 2, "ignored": 1}}
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before


def test_what_arrives_later_is_added(incoming, radiograph_bundle, tmp_path):
    late = next(incoming.rglob("*.dcm"))
    parked = late.rename(tmp_path / "parked.dcm")
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    parked.rename(late)
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    score_folder(incoming, radiograph_bundle, tmp_path / "fresh")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "fresh" / "scores.csv").read_bytes()


def test_another_bundle_scores_anew_into_the_same_folder(incoming, radiograph_bundle, new_bundle, tmp_path):
    other = new_bundle(tmp_path / "other", threshold=0.01)
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    score_folder(incoming, other, tmp_path / "out")
    score_folder(incoming, other, tmp_path / "fresh")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "fresh" / "scores.csv").read_bytes()


def test_a_moved_folder_of_the_same_scans_is_not_scored_again(incoming, radiograph_bundle, tmp_path, monkeypatch):
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    moved = incoming.rename(tmp_path / "moved")
    monkeypatch.delattr(scorer, "read_scan")
    score_folder(moved, radiograph_bundle, tmp_path / "out")
    assert (tmp_path / "out" / "scores.csv").stat().st_size > 1000


def test_the_output_below_the_folder_scored_is_not_scored(incoming, radiograph_bundle):
    score_folder(incoming, radiograph_bundle, incoming)
    first = (incoming / "scores.csv").read_text().splitlines()
    assert not [row for row in first if ".scanshift" in row]


def test_state_and_plan_are_private(incoming, radiograph_bundle, tmp_path):
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    state = tmp_path / "out" / ".scanshift"
    named = [path for path in state.rglob("*") if path.is_file() and path.name != "lock"]
    assert {"ledger.jsonl", "catalog.db", "plan.json", "shard-00000.json"} <= {path.name for path in named}
    assert {stat.S_IMODE(path.stat().st_mode) for path in named} == {0o600}


def test_shards_hold_what_is_to_be_scored(incoming, radiograph_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.score.plan.SHARD_SERIES", 10)
    state = state_folder(tmp_path / "out", None).open()
    run = state.run_folder("score")
    plan = plan_scores(incoming, radiograph_bundle, state, device="cpu", watch=Watch())
    assert plan.counts() == {"to score": 24, "done before or twice": 0, "refused": 2, "ignored": 1}
    shards = write_plan(plan, run)
    assert [len(json.loads(shard.read_text())["series"]) for shard in shards] == [10, 10, 4]
    assert score_shard(shards[1], radiograph_bundle, state, device="cpu", watch=Watch()) == {"scored": 10}
    assert score_shard(shards[1], radiograph_bundle, state, device="cpu", watch=Watch()) == {}
    told = finish(run, state, radiograph_bundle, tmp_path / "out", device="cpu", heatmaps=False, watch=Watch())
    assert told["counts"] == {"scored": 10, "refused": 2, "ignored": 1}
    again = plan_scores(incoming, radiograph_bundle, state, device="cpu", watch=Watch())
    assert again.counts()["to score"] == 14


def test_heatmaps_are_made_of_anomalies_only(incoming, radiograph_bundle, tmp_path):
    out = tmp_path / "out"
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    state = state_folder(out, None)
    run = next((state.root / "runs" / "score").iterdir())
    finish(run, state, radiograph_bundle, out, device="cpu", heatmaps=True, watch=Watch())
    called = (out / "scores.csv").read_text().count(",anomaly,")
    assert 0 < called < 24
    assert len(list((out / "heatmaps").glob("*.png"))) == called
    assert not list((out / "heatmaps").glob("*.dcm"))


def test_what_of_the_heatmaps_is_missing_is_noted(incoming, radiograph_bundle, tmp_path):
    out, notes = tmp_path / "out", []
    score_folder(incoming, radiograph_bundle, out, device="cpu")
    state = state_folder(out, None)
    run = next((state.root / "runs" / "score").iterdir())
    options = {"device": "cpu", "heatmaps": True, "watch": Watch(note=notes.append)}
    finish(run, state, radiograph_bundle, out, dicom_maps="segmentation", **options)
    called = len(list((out / "heatmaps").glob("*.png")))
    assert len(list((out / "heatmaps").glob("*.dcm"))) == called > 0
    assert notes == []
    finish(run, state, radiograph_bundle, out, dicom_maps="parametric", **options)
    assert notes == [f"{called} of {called} heat-maps lack a file; heatmaps/index.csv says why"]


def test_a_second_run_into_the_same_folder_is_turned_away(incoming, radiograph_bundle, tmp_path):
    state = state_folder(tmp_path / "out", None).open()
    with exclusive(state.root), pytest.raises(BusyError, match="another run is writing here"):
        score_folder(incoming, radiograph_bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "scores.csv").exists()
    score_folder(incoming, radiograph_bundle, tmp_path / "out")
    assert (tmp_path / "out" / "scores.csv").exists()


@pytest.mark.parametrize("name", ["models/model.pt", "configs/scanshift.yaml", "configs/training_set.json"])
def test_a_bundle_altered_by_one_byte_scores_nothing(incoming, radiograph_bundle, tmp_path, name):
    bundle = Path(shutil.copytree(radiograph_bundle, tmp_path / "bundle"))
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was altered"):
        score_folder(incoming, bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "scores.csv").exists()
    assert not (tmp_path / "out" / ".scanshift" / "ledger.jsonl").exists()


def test_a_missing_folder_is_told(radiograph_bundle, tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        score_folder(tmp_path / "nowhere", radiograph_bundle, tmp_path / "out")


def test_an_output_that_is_a_file_is_told(incoming, radiograph_bundle, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SourceError, match="not a folder"):
        score_folder(incoming, radiograph_bundle, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_told(incoming, radiograph_bundle, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SourceError, match="cannot be written"):
            score_folder(incoming, radiograph_bundle, tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_too_little_disk_space_is_told_before_work_starts(incoming, radiograph_bundle, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(2**40, 2**40 - 2**20, 2**20))
    monkeypatch.delattr(scorer, "read_scan")
    with pytest.raises(DiskSpaceError, match="1 MiB free, about 200 MiB needed"):
        score_folder(incoming, radiograph_bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_an_archive_scores_as_its_folder_does(incoming, radiograph_bundle, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "in" / "night"), "zip", incoming))
    score_folder(incoming, radiograph_bundle, tmp_path / "plain", device="cpu")
    score_folder(archive, radiograph_bundle, tmp_path / "zipped", device="cpu")
    plain, zipped = ((tmp_path / name / "scores.csv").read_text().splitlines() for name in ("plain", "zipped"))
    assert sorted(line.removeprefix("night.zip/") for line in zipped) == sorted(plain)
    state = state_folder(tmp_path / "watched", None).open()
    counts = [
        plan_scores(archive.parent, radiograph_bundle, state, device="cpu", watch=Watch(), archives=wanted).counts()
        for wanted in (False, True)
    ]
    assert [count["to score"] for count in counts] == [0, 24]


def test_threads_that_score_at_once_share_no_network(radiograph_bundle, tmp_path):
    digest, cpu = open_bundle(radiograph_bundle).digest, torch.device("cpu")

    def mine(_n):
        return _scorer_of(tmp_path, radiograph_bundle, digest, cpu, "", threading.get_ident())

    here = mine(0)
    assert mine(0) is here
    with ThreadPoolExecutor(1) as other:
        assert next(other.map(mine, [0])) is not here
