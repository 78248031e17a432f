"""Scoring on a Dask cluster: real scheduler and workers, in processes of their own, on loopback."""

import json
import os
import signal
import threading
from collections import Counter
from dataclasses import replace

import pytest

from flows import cli, dask_cluster, score
from flows.request import Request
from pipeline.errors import ClusterError, ConfigError
from pipeline.score import plan
from pipeline.score.fellow import Job, describe_fellow, greet
from pipeline.score.folder import score_folder
from pipeline.score.place import state_folder
from pipeline.watch import Watch
from tests.clusters import dask_cluster as local_cluster
from tests.clusters import free_port, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with local_cluster(tmp_path_factory.mktemp("dask")) as dask:
        yield dask


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Makes a request whose plan has shards of a few series."""

    def make(source, bundle, address, size):
        monkeypatch.setattr(plan, "SHARD_SERIES", size)
        out = tmp_path / "out"
        space = state_folder(out, None).open()
        options = {"device": "cpu", "heatmaps": False, "dask": address}
        run = str(space.run_folder("score"))
        return Request("score", str(space.root), run, (str(source),), str(bundle), str(out), options)

    return make


def ledger_lines(request):
    return {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(request.space.root.glob("ledger*.jsonl"))
    }


def score_all(request):
    path = request.save()
    counts = score.run_elsewhere(path, score.run_find(path))
    score.run_finish(path)
    return counts


def test_two_workers_write_the_bytes_of_one_machine(cluster, ask, samples, radiograph_bundle, tmp_path):
    request = ask(samples / "incoming", radiograph_bundle, cluster.address, 4)
    assert score_all(request) == {"scored": 24}
    score_folder(samples / "incoming", radiograph_bundle, tmp_path / "alone", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()
    parts = ledger_lines(request)
    assert "ledger.jsonl" not in parts
    assert sum(map(len, parts.values())) == 24
    assert score_all(request) == {}  # nothing is left to score
    assert ledger_lines(request) == parts
    log = cluster.log.read_text()
    assert "scheduler" in log
    assert not [path.name for path in (samples / "incoming").rglob("*") if path.is_file() and path.name in log]


def test_what_a_lost_worker_finished_is_kept(cluster, ask, samples, volume_bundle, tmp_path):
    """The worker that writes first is killed then; its shard goes on elsewhere, behind what it wrote."""
    request = ask(samples / "volumes", volume_bundle, cluster.address, 12)
    killed = []

    def kill():
        wait_until(lambda: list(request.space.root.glob("ledger-*.jsonl")))
        path = min(request.space.root.glob("ledger-*.jsonl"), key=lambda path: path.stat().st_mtime)
        os.kill(int(path.name.split("-")[2]), signal.SIGKILL)
        killed.append((path.name, path.read_bytes()))

    killer = threading.Thread(target=kill)
    killer.start()
    score_all(request)
    killer.join()
    score_folder(samples / "volumes", volume_bundle, tmp_path / "alone", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()
    parts = ledger_lines(request)
    ((name, kept),) = killed
    assert (request.space.root / name).read_bytes() == kept
    assert len(parts) > 1
    scored = Counter(line["content"] for lines in parts.values() for line in lines)
    assert set(scored.values()) == {1}


def test_a_scheduler_that_goes_away_ends_the_run_in_a_line(ask, samples, volume_bundle, tmp_path, monkeypatch):
    """What was finished is kept; one machine goes on and writes the bytes of an undisturbed run."""
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 5)
    with local_cluster(tmp_path, workers=1) as dask:
        request = ask(samples / "volumes", volume_bundle, dask.address, 2)

        def kill():
            wait_until(lambda: list(request.space.root.glob("ledger-*.jsonl")))
            dask.processes[0].kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ClusterError, match=r"the Dask scheduler at tcp://127.* is gone"):
            score_all(request)
        killer.join()
    kept = ledger_lines(request)
    score_folder(samples / "volumes", volume_bundle, tmp_path / "out", device="cpu")
    score_folder(samples / "volumes", volume_bundle, tmp_path / "alone", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()
    parts = ledger_lines(request)
    assert kept.items() <= parts.items()
    scored = Counter(line["content"] for lines in parts.values() for line in lines)
    assert set(scored.values()) == {1}


def test_a_shard_that_a_share_failed_is_given_out_again(monkeypatch):
    """A share that is away for a moment costs a pause; one that stays away ends the run."""
    away = {"error": "OSError", "words": "Stale file handle", "again": True}
    done = {"part": "x", "counts": {"scored": 2}}
    pauses = []
    monkeypatch.setattr(dask_cluster.time, "sleep", pauses.append)
    monkeypatch.setattr(dask_cluster, "await_parts", lambda _job, parts: pauses.append(sorted(parts)))
    monkeypatch.setattr(dask_cluster, "_ended", lambda _client, waiting, _watch: list(waiting))

    class Client:
        def __init__(self, *answers):
            self.answers = list(answers)

        def nthreads(self):
            return {"worker": 1}

        def submit(self, *_arguments, **_options):
            answer = self.answers.pop(0)
            return type("Future", (), {"result": lambda _self: answer})()

    found = dask_cluster._scored(Client(away, done, away, done), None, ["a.json", "b.json"], {}, Watch())
    assert found == {"scored": 4}
    assert pauses == [5, 30, ["x"]]
    with pytest.raises(ClusterError, match="a: OSError: Stale file handle"):
        dask_cluster._scored(Client(away, away, away), None, ["a.json"], {}, Watch())


@pytest.mark.slow
def test_the_command_scores_on_the_cluster(cluster, terminal, samples, radiograph_bundle, tmp_path):
    arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    told = terminal.run(*arguments, "--dask", cluster.address, "--device", "cpu")
    assert told.code == 0, told.error
    assert "2 Dask workers, 1 shards" in told.error
    assert told.out.splitlines()[-1] == "1 ignored, 2 refused, 24 scored"


def test_a_worker_that_differs_is_told_and_gets_nothing(cluster, ask, samples, radiograph_bundle):
    request = ask(samples / "incoming", radiograph_bundle, cluster.address, 512)
    job = Job(str(radiograph_bundle), request.workspace, request.run, "cpu")
    with dask_cluster.connected(cluster.address) as client:
        greet(job)
        own = describe_fellow(job)
        dask_cluster.check_workers(client, job, own)
        with pytest.raises(ClusterError, match=r"Dask worker tcp://127.*: scanshift is 0.* there and 9.9 here"):
            dask_cluster.check_workers(client, job, {**own, "scanshift": "9.9"})
        elsewhere = replace(job, bundle="/nowhere")
        with pytest.raises(ClusterError, match=r"the bundle folder cannot be used there \(BundleError\)"):
            dask_cluster.check_workers(client, elsewhere, own)


def test_no_scheduler_is_told_in_one_line(ask, samples, radiograph_bundle, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1)
    request = ask(samples / "incoming", radiograph_bundle, f"tcp://127.0.0.1:{free_port()}", 512)
    with pytest.raises(ClusterError, match="no Dask scheduler answers at tcp://127"):
        score_all(request)


@pytest.mark.parametrize("address", ["localhost:8786", "http://here:80", "tcp://here", "tcp://:8786", "tcp://here:x"])
def test_what_is_no_address_is_wrong_use(address, samples, radiograph_bundle, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"expected tcp://HOST:PORT"):
        dask_cluster.check_address(address)
    arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    assert cli.main([*map(str, arguments), "--dask", address]) == 2
    assert not (tmp_path / "out").exists()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(dask_cluster.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"install scanshift\[dask\]"):
        dask_cluster.check_address("tcp://127.0.0.1:8786")
