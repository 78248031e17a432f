"""The score flow, and what a day of all four verbs leaves with Prefect, in the home and on the network."""

import csv
import ipaddress
import json
import os
import pickle
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import score
from flows.retry import may_pass_next_time
from flows.seal import SealedError
from pipeline.errors import LabelsError
from pipeline.score.folder import score_folder
from pipeline.workspace import exclusive

PLANTED = re.compile(rb"mueller|hans\b|hans_", re.IGNORECASE)


@pytest.fixture(scope="module")
def prefect_files(site):
    """Every byte that Prefect has stored: database, write-ahead log, result storage."""
    return {path: path.read_bytes() for path in (site.workspace / "prefect").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def query(site, tmp_path_factory):
    """Asks a copy of Prefect's database."""
    copy = tmp_path_factory.mktemp("prefect")
    for path in (site.workspace / "prefect").glob("prefect.db*"):
        shutil.copy(path, copy)
    connection = sqlite3.connect(copy / "prefect.db")
    yield lambda text: connection.execute(text).fetchall()
    connection.close()


def test_score_through_the_command_line(site):
    told = site.told["score"]
    assert told.code == 0, told.error
    scores = site.root / "scores" / "scores.csv"
    pictures = site.root / "scores" / "heatmaps"
    assert told.out.splitlines() == [f"scores: {scores}", f"heat-maps: {pictures}", "2 refused, 24 scored"]
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 26
    called = {row["series_uid"] for row in rows if row["decision"] == "anomaly"}
    referred = {row["series_uid"] for row in rows if row["decision"] == "refer"}
    with (pictures / "index.csv").open(newline="") as file:
        shown = {row["series_uid"] for row in csv.DictReader(file) if row["png"]}
    assert called <= shown <= called | referred  # of those referred, the ones that the policy alone would call
    assert len(list(pictures.glob("*.png"))) == len(shown)


def test_the_flow_scores_as_the_pipeline_does(site, tmp_path):
    score_folder(site.incoming, site.bundle, tmp_path / "out")
    wanted = (tmp_path / "out" / "scores.csv").read_bytes()
    assert (site.root / "scores" / "scores.csv").read_bytes() == wanted


def test_all_runs_are_in_the_workspaces_own_database(query):
    runs = dict(query("select flow.name || ' ' || flow_run.state_type, count(*) from flow_run join flow on "
                      "flow.id = flow_run.flow_id group by 1"))  # fmt: skip
    assert runs == {
        "scanshift-ingest COMPLETED": 1,
        "scanshift-adapt COMPLETED": 1,
        "scanshift-validate COMPLETED": 1,
        "scanshift-score COMPLETED": 1,
        "scanshift-validate FAILED": 1,
    }


def test_prefect_knows_no_patient_file_or_series(site, prefect_files):
    assert any(b"scanshift-score" in content for content in prefect_files.values())
    for path, content in prefect_files.items():
        assert not PLANTED.search(content), path
        assert not [uid for uid in site.uids if uid.encode() in content], path


def test_prefect_stores_of_an_error_its_class_alone(query, prefect_files):
    failed = query("select message from flow_run_state where type = 'FAILED'")
    assert failed == [("Flow run encountered an exception: SealedError: LabelsError",)]
    for path, content in prefect_files.items():
        assert b"names a file" not in content, path


def test_artifacts_hold_the_tables_of_figures(query):
    tables = {key: json.loads(text) for key, text in query("select key, data from artifact where key is not null")}
    assert set(tables) == {"scanshift-ingest", "scanshift-adapt", "scanshift-validate", "scanshift-score"}
    rows = json.loads(tables["scanshift-validate"])
    assert [row["class"] for row in rows] == ["normal", "opacity"]
    assert {"auroc", "auroc_low", "auroc_high", "sensitivity", "support"} <= set(rows[0])
    assert "| scored | 24 |" in tables["scanshift-score"]


def test_only_the_users_own_tables_name_patients(site, terminal):
    own = {"scores.csv", "index.csv", "predictions.csv", "quarantine.csv", "catalog.db", "plan.json", "missing.csv"}
    named = set()
    for path in site.root.rglob("*"):
        outside = path.is_relative_to(site.root / "scans") or path.is_relative_to(site.root / "incoming")
        if path.is_file() and not outside and PLANTED.search(path.read_bytes()):
            named.add(path)
    assert {"scores.csv", "predictions.csv"} <= {path.name for path in named}
    assert {path.name for path in named if not path.name.startswith(("shard-", "catalog.db-"))} <= own
    assert {path.stat().st_mode & 0o777 for path in named if path.name != "missing.csv"} == {0o600}
    spoken = [path for name in ("report.html", "result.json", "log.txt") for path in site.root.rglob(name)]
    assert {path.name for path in spoken} == {"report.html", "result.json", "log.txt"}
    for path in [*site.bundle.rglob("*"), *spoken]:
        if path.is_file():
            text = path.read_bytes()
            assert not [uid for uid in site.uids if uid.encode() in text], path
    for told in site.told.values():
        assert not PLANTED.search((told.out + told.error).encode())


def test_the_home_stays_empty_but_for_caches(site, terminal):
    left = [path.relative_to(terminal.home) for path in terminal.home.rglob("*") if path.is_file()]
    assert not [path for path in left if path.parts[0] != ".cache"]
    assert not list((terminal.folder / "cwd").iterdir())


def test_nothing_is_connected_but_this_machine(site, terminal):
    lines = set(terminal.connections.read_text().splitlines())
    connected = {line.split()[1] for line in lines if line.startswith("connect ")}
    looked_up = {line.split()[1] for line in lines if line.startswith("look-up ")}
    assert connected
    assert all(ipaddress.ip_address(address).is_loopback for address in connected)
    assert looked_up <= {"127.0.0.1", "::1", "localhost", "None"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_is_connected_but_this_machine_as_the_kernel_sees_it(site, terminal, tmp_path):
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", trace, shutil.which("true")], capture_output=True
    )
    if done.returncode:
        pytest.skip("strace may not trace here")
    command = [terminal.script, "score", site.incoming, "--bundle", site.bundle, "-o", tmp_path / "out"]
    state = ["-w", site.workspace]
    arguments = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", trace, *command, *state]
    done = subprocess.run(
        [str(word) for word in arguments],
        env=terminal.environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    inet = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert any("connect(" in line for line in inet)
    loopback = ('inet_addr("127.', '"::1"', "htons(0)")
    assert not [line for line in inet if not any(word in line for word in loopback)]


def test_a_second_run_and_one_beside_it(site, terminal, tmp_path):
    arguments = ["score", site.incoming, "--bundle", site.bundle, "-o", site.root / "scores", "-w"]
    before = (site.root / "scores" / "scores.csv").read_bytes()
    with exclusive(site.root / "scores" / ".scanshift"):  # as a run without a workspace, or with another one, holds it
        told = terminal.run(*arguments, site.workspace)
    assert (told.code, told.out) == (1, "")
    assert told.error.count("\n") == 1
    assert "another run is writing here" in told.error
    assert (site.root / "scores" / "scores.csv").read_bytes() == before
    told = terminal.run(*arguments, site.workspace, "--json")
    assert told.code == 0, told.error
    assert told.record["counts"] == {"scored": 24, "refused": 2}
    assert "0 to score, 24 done" in told.error
    assert (site.root / "scores" / "scores.csv").read_bytes() == before


@dataclass
class Broken:
    """A command that scores 24 volumes, and is sent a signal once the first chunk is in the ledger."""

    arguments: list
    out: Path
    undisturbed: bytes
    process: subprocess.Popen

    def send(self, number, *, group):
        end = time.monotonic() + 200
        ledger = self.out / ".scanshift" / "ledger.jsonl"
        while not ledger.exists() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.communicate(timeout=300)[1]


@pytest.fixture
def broken(terminal, end_group, samples, new_bundle, tmp_path):
    bundle = new_bundle(tmp_path / "bundle", kind=("volume", "OT"), size=160, classes=("normal", "lesion"))
    score_folder(samples / "volumes", bundle, tmp_path / "undisturbed", device="cpu")
    arguments = ["score", samples / "volumes", "--bundle", bundle, "-o", tmp_path / "out", "--device", "cpu"]
    process = terminal.start(*arguments)
    try:
        undisturbed = (tmp_path / "undisturbed" / "scores.csv").read_bytes()
        yield Broken(arguments, tmp_path / "out", undisturbed, process)
    finally:
        end_group(process)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_done(terminal, broken):
    error = broken.send(signal.SIGINT, group=True)  # as a terminal does: the embedded server gets it too
    assert broken.process.returncode == 130, error
    assert error.splitlines()[-1].startswith("interrupted; what was done is kept")
    assert "Traceback" not in error
    with closing(sqlite3.connect(broken.out / ".scanshift" / "prefect" / "prefect.db")) as database:
        (state,) = database.execute("SELECT state_type FROM flow_run").fetchall()
    assert state == ("CRASHED",)  # the server was still there to be told
    rows = (broken.out / "scores.csv").read_text().count(",scored,")
    assert 2 <= rows < 24
    told = terminal.run(*broken.arguments)
    assert told.code == 0, told.error
    assert f"{24 - rows} to score, {rows} done" in told.error
    assert (broken.out / "scores.csv").read_bytes() == broken.undisturbed


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_where_it_was(terminal, broken):
    error = broken.send(signal.SIGKILL, group=False)
    assert broken.process.returncode == -signal.SIGKILL, error
    assert not (broken.out / "scores.csv").exists()
    told = terminal.run(*broken.arguments)
    assert told.code == 0, told.error
    (left, done) = map(int, re.search(r"(\d+) to score, (\d+) done", told.error).groups())
    assert left + done == 24
    assert 2 <= done < 24
    assert (broken.out / "scores.csv").read_bytes() == broken.undisturbed


class State:
    """A task run's state whose result is an error."""

    def __init__(self, error):
        self.error = error

    def result(self, raise_on_failure):
        assert not raise_on_failure
        return self.error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (SealedError("OSError", OSError(5, "Input/output error")), True),
        (SealedError("LabelsError", LabelsError("x")), False),
        (pickle.loads(pickle.dumps(SealedError("OSError", OSError(5, "Input/output error")))), False),
        (OSError(5, "Input/output error"), False),
    ],
)
def test_only_what_may_pass_next_time_is_tried_again(error, again):
    assert may_pass_next_time(None, None, State(error)) is again


def test_tasks_are_the_functions_behind_the_seal():
    assert score.find_task.fn.__wrapped__ is score.run_find
    assert score.shard_task.fn.__wrapped__ is score.run_shard
    assert score.finish_task.fn.__wrapped__ is score.run_finish
    assert (score.find_task.retries, score.shard_task.retries, score.finish_task.retries) == (0, 2, 0)


def test_a_shard_is_tried_again_after_a_fault_from_outside(tmp_path):
    """In a process of its own, on the embedded server: two faults, then success; a refusal is not repeated."""
    code = """
import sys
from pathlib import Path
from flows.settings import configure_prefect
configure_prefect(Path(sys.argv[1]))
from flows import score
from flows.seal import SealedError, sealed
from pipeline.errors import LabelsError
from prefect import flow

calls = []

def work(error):
    calls.append(error)
    if len(calls) < 3:
        raise error
    return len(calls)

policy = dict(retries=2, retry_delay_seconds=0, retry_condition_fn=score.shard_task.retry_condition_fn, name="x")
task = score.shard_task.with_options(**policy)
task.fn = sealed(work)

@flow
def day():
    answers = [task(OSError(5, "Input/output error"))]
    calls.clear()
    try:
        task(LabelsError("no"))
    except SealedError as error:
        answers.append(f"{error} {error.cause} {len(calls)}")
    return answers

print(day())
"""
    environment = {**os.environ, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "600"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=200, env=environment
    )
    assert done.stdout == "[3, 'LabelsError no 1']\n", done.stderr
