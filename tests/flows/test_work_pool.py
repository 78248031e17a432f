"""Scoring over Prefect workers: a real server on PostgreSQL and two worker processes, all on loopback."""

import os
import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from flows import cli, commands, work_pool
from flows.elsewhere_options import check_elsewhere
from pipeline.errors import ClusterError, ConfigError
from pipeline.score.fellow import Job, describe_fellow, greet
from pipeline.score.folder import score_folder
from pipeline.score.parts import read_answer, read_job, shards_of, write_answer, write_job
from tests.clusters import ROOT, free_port, prefect_server

POOL = "scans"
SMALL_SHARDS = """
import sys
from pipeline.score import plan
plan.SHARD_SERIES = 6
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def asyncpg_url(postgres_url):
    """The empty database as Prefect's server wants it named."""
    pytest.importorskip("asyncpg")
    return postgres_url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture
def prefect(asyncpg_url, tmp_path):
    with prefect_server(tmp_path, asyncpg_url, pool=POOL) as server:
        yield server


@pytest.mark.slow
def test_two_workers_on_postgresql_write_the_bytes_of_one_machine(
    prefect, postgres_url, samples, radiograph_bundle, tmp_path
):
    arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    options = ["--device", "cpu", "--work-pool", POOL, "--parts", "2"]
    done = subprocess.run(
        [sys.executable, "-c", SMALL_SHARDS, *map(str, arguments), *options],
        env={**os.environ, **prefect.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "work pool scans: 4 shards in 2 parts" in done.stderr
    assert done.stdout.splitlines()[-1] == "1 ignored, 2 refused, 24 scored"
    score_folder(samples / "incoming", radiograph_bundle, tmp_path / "alone", device="cpu")
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()
    assert len(list((tmp_path / "out" / ".scanshift").glob("ledger-*.jsonl"))) == 2  # a process each
    took = [log.read_text().count("submitting flow run") for log in sorted(tmp_path.glob("[12]*-worker.log"))]
    assert sum(took) >= 2, took
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "select f.name, r.state_type::text, r.parameters::text from flow_run r join flow f on f.id = r.flow_id"
        ).fetchall()
    ended = sorted((name, state) for name, state, _ in rows)
    assert ended == [("scanshift-score", "COMPLETED")] + [("scanshift-score-part", "COMPLETED")] * 2
    assert [text for *_, text in rows if "runs/score" in text]
    stored = all_text(postgres_url)
    assert "runs/score" in stored
    assert not [path.name for path in (samples / "incoming").rglob("*") if path.is_file() and path.name in stored]
    assert str(samples) not in stored


def all_text(url):
    """Every row of every table."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        queries = [sql.SQL("select * from {}").format(sql.Identifier(name)) for (name,) in tables]
        return "\n".join(str(row) for query in queries for row in connection.execute(query).fetchall())


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told_in_a_line(samples, radiograph_bundle, tmp_path):
    arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments), "--work-pool", POOL],
        env={**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    said = "scanshift: the Prefect server that PREFECT_API_URL names does not answer\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_a_pool_needs_a_server_that_workers_share(samples, radiograph_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    assert cli.main([*map(str, arguments), "--work-pool", POOL]) == 2
    error = capsys.readouterr().err
    assert error == f"scanshift: --work-pool {POOL}: set PREFECT_API_URL to the Prefect server of the pool's workers\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--parts", "0"], "expected 1 or more"), (["--dask", "tcp://127.0.0.1:8786"], "choose one")],
)
def test_what_makes_no_sense_is_wrong_use(words, said):
    options = cli.build_parser().parse_args(["score", "in", "--bundle", "b", "-o", "out", "--work-pool", POOL, *words])
    with pytest.raises(ConfigError, match=said):
        check_elsewhere(options)


def test_every_shard_is_in_one_part(tmp_path):
    shards = [f"shard-{n:05d}.json" for n in range(7)]
    write_job(Job("bundle", str(tmp_path), str(tmp_path), "cpu"), {}, shards)
    found = [shards_of(tmp_path, part, 3) for part in (1, 2, 3)]
    assert [len(paths) for paths in found] == [3, 2, 2]
    assert sorted(path for paths in found for path in paths) == shards


def test_a_job_comes_back_as_it_was_written(radiograph_bundle, tmp_path):
    job = Job(str(radiograph_bundle), str(tmp_path), str(tmp_path), "cpu", "eager")
    greet(job)
    own = describe_fellow(job)
    write_job(job, own, [])
    assert read_job(tmp_path) == (job, own)
    assert (tmp_path / "job.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ClusterError, match="cannot be used there"):
        read_job(tmp_path / "elsewhere")


def test_a_part_that_left_no_answer_is_told(tmp_path):
    write_answer(tmp_path, 1, {"parts": [], "counts": {"scored": 1}})
    assert read_answer(tmp_path, 1) == {"parts": [], "counts": {"scored": 1}}
    with pytest.raises(ClusterError, match="part 2 ended without a word"):
        read_answer(tmp_path, 2, seconds=0)


class State:
    """Of a flow run."""

    def __init__(self, name):
        self.name = name

    def is_final(self):
        return self.name in ("Completed", "Failed", "Crashed", "Cancelled")

    def is_crashed(self):
        return self.name == "Crashed"


class Server:
    """Gives each new flow run the next fate."""

    def __init__(self, run, fates):
        self.folder, self.fates, self.runs, self.cancelled = run, list(fates), [], []

    def create_flow_run_from_deployment(self, _deployment, parameters):
        self.runs.append(self.fates.pop(0))
        if self.runs[-1] == "Completed":
            write_answer(self.folder, parameters["part"], {"parts": [], "counts": {"scored": 5}})
        if self.runs[-1] == "Failed":
            write_answer(self.folder, parameters["part"], {"error": "EngineError", "words": "no such engine"})
        return type("Run", (), {"id": len(self.runs) - 1})

    def set_flow_run_state(self, identity, state):
        self.cancelled.append((identity, state.name))

    def read_flow_run(self, identity):
        return type("Run", (), {"state": State(self.runs[identity])})


@pytest.fixture
def pool_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(work_pool, "LOOK_SECONDS", 0)
    job = Job("bundle", str(tmp_path), str(tmp_path), "cpu")
    return lambda *fates, parts=2: work_pool.PoolRuns(Server(tmp_path, fates), None, job, parts)


def test_a_part_that_crashed_is_started_again(pool_runs):
    counts, written = pool_runs("Completed", "Crashed", "Completed").all(commands.make_watch(quiet=True))
    assert (counts, written) == ({"scored": 10}, set())


@pytest.mark.parametrize(
    ("fates", "said"),
    [
        (("Completed", "Failed"), "part 2: EngineError: no such engine"),
        (("Completed", "Cancelled"), "part 2 of 2: cancelled"),
        (("Completed", "Crashed", "Crashed", "Crashed"), "part 2 of 2: crashed"),
    ],
)
def test_a_part_that_ends_badly_ends_the_run(pool_runs, fates, said):
    with pytest.raises(ClusterError, match=said):
        pool_runs(*fates).all(commands.make_watch(quiet=True))


def test_a_part_that_fails_cancels_the_others(pool_runs):
    runs = pool_runs("Failed", "Running", "Running", parts=3)
    with pytest.raises(ClusterError, match="part 1: EngineError"):
        runs.all(commands.make_watch(quiet=True))
    assert set(runs.client.cancelled) >= {(1, "Cancelling"), (2, "Cancelling")}


def test_a_server_that_fails_halfway_leaves_no_part_running(pool_runs):
    runs = pool_runs("Running")  # the second cannot be created
    with pytest.raises(IndexError):
        runs.all(commands.make_watch(quiet=True))
    assert runs.client.cancelled == [(0, "Cancelling")]
