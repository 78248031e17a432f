"""`scanshift doctor`: its command, Prefect's checks against a server made of two lines, and the watched run."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from flows import doctor_offline, doctor_prefect
from flows.doctor_offline import check_offline
from flows.doctor_prefect import check_scheduler, check_server, check_settings
from flows.settings import configure_prefect
from pipeline.doctor.addresses import Attempt
from pipeline.doctor.finding import Finding, Level
from pipeline.doctor.silence import Watched

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The environment is as it was after each test."""
    for name in ("PREFECT_API_URL", "SCANSHIFT_CATALOG", "MPLCONFIGDIR", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_what_is_asked_for_is_checked_and_told(command, tmp_path):
    told = command("doctor", "--only", "disk", "--only", "database", "-w", tmp_path)
    assert told.code == 0
    assert [line.split(":")[0].split()[-1] for line in told.out.splitlines()[:-1]] == ["disk", "database"]
    assert told.out.splitlines()[-1].startswith("2 checks, 0 broken")
    told = command("doctor", "--only", "database", "-w", tmp_path, "--json")
    assert [row["name"] for row in told.record["checks"]] == ["database"]


def test_something_broken_is_exit_1(command, tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"nothing of the kind" * 100)
    told = command("doctor", "--only", "database", "-w", tmp_path)
    assert told.code == 1
    assert told.out.startswith("broken   database: ")
    assert command("doctor", "--only", "nonsense").code == 2


def test_settings(tmp_path, monkeypatch):
    configure_prefect(tmp_path / "prefect")
    assert check_settings().level == Level.OK
    monkeypatch.setenv("PREFECT_SERVER_UI_V2_ENABLED", "true")
    assert check_settings().level == Level.WARNING
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    assert check_settings().details == ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")


@pytest.fixture
def server(monkeypatch):
    """A server of Prefect's paths; answers are set by the test."""
    answers = {"/health": True, "/admin/version": version("prefect")}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            found = answers.get(self.path.removeprefix("/api"))
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{made.server_port}/api")
    yield answers
    made.shutdown()
    made.server_close()


def test_a_server_that_answers(server):
    assert check_server().level == Level.OK
    server["/admin/version"] = "3.0.0"
    assert check_server().level == Level.WARNING
    del server["/admin/version"]
    assert check_server().level == Level.BROKEN


def test_a_server_that_does_not_answer_is_told_without_its_login(monkeypatch):
    assert check_server().level == Level.OK
    monkeypatch.setenv("PREFECT_API_URL", "http://me:verysecret@127.0.0.1:1/api")
    found = check_server()
    assert found.level == check_scheduler().level == Level.BROKEN
    assert "secret" not in found.words + check_scheduler().words


@pytest.mark.parametrize(
    ("schedules", "runs", "level"),
    [([True], [{}], Level.OK), ([True], [], Level.BROKEN), ([False], [], Level.WARNING), ([], [], Level.WARNING)],
)
def test_a_scheduler_is_judged_by_its_runs(server, schedules, runs, level):
    rows = [{"active": active} for active in schedules]
    server["/deployments/filter"] = [{"id": "1", "paused": False, "schedules": rows}]
    server["/flow_runs/filter"] = runs
    assert check_scheduler().level == level


@pytest.mark.parametrize(("runs", "level"), [([{}], Level.OK), ([], Level.BROKEN)])
def test_a_scheduler_of_our_own_is_tried_and_ended(server, monkeypatch, runs, level):
    api = os.environ.pop("PREFECT_API_URL")
    ended = []

    def start(_port):
        os.environ["PREFECT_API_URL"] = api
        return "server"

    monkeypatch.setattr(doctor_prefect, "start_server", start)
    monkeypatch.setattr(doctor_prefect, "stop_server", ended.append)
    server |= {"/flows/": {"id": "f"}, "/deployments/": {"id": "d"}, "/flow_runs/filter": runs}
    assert check_scheduler(seconds=0.2).level == level
    assert ended == ["server"]
    assert "PREFECT_API_URL" not in os.environ


def run_that(*attempts, code=0, scored=3, error=""):
    def run(command, environment, _seconds):
        assert "    openvino()\n" in command[2]  # the one package that calls home when it is imported unguarded
        assert not {"PREFECT_API_URL", "SCANSHIFT_CATALOG"} & set(environment)
        out = command[command.index("-o") + 1]
        Path(out).mkdir()
        (Path(out) / "scores.csv").write_text("source\n" + "a,b,scored,\n" * scored)
        return Watched(code, error, attempts)

    return lambda _environment: (run, "a way")


LOOPBACK = Attempt("connect", "127.0.0.1", 80)


@pytest.mark.parametrize(
    ("choose", "level", "words"),
    [
        (run_that(LOOPBACK), Level.OK, "3 scans scored, 1 addresses, all of loopback; watched by a way"),
        (run_that(LOOPBACK, Attempt("connect", "192.0.2.1", 9)), Level.BROKEN, "tried connect 192.0.2.1 port 9"),
        (run_that(LOOPBACK, code=1, scored=0, error="x\nwhy"), Level.BROKEN, "(exit 1, 0 of 3 scored): why"),
        (run_that(LOOPBACK, scored=2), Level.BROKEN, "2 of 3 scored"),
        (run_that(), Level.BROKEN, "not even"),
        (lambda _environment: None, Level.BROKEN, "cannot be watched"),
    ],
)
def test_a_watched_run_is_judged(choose, level, words):
    found = check_offline({"PREFECT_API_URL": "x", "SCANSHIFT_CATALOG": "y"}, choose)
    assert found.level == level
    assert words in found.words


def test_the_watched_run_gets_the_environment_of_the_user(command, monkeypatch):
    seen = []

    def look(environment):
        seen.append(environment)
        return Finding(Level.OK, "offline", "")

    monkeypatch.setattr(doctor_offline, "check_offline", look)
    monkeypatch.delenv("PREFECT_SERVER_ANALYTICS_ENABLED", raising=False)
    assert command("doctor", "--only", "disk", "--offline").code == 0
    assert "PREFECT_SERVER_ANALYTICS_ENABLED" not in seen[0]


@pytest.mark.slow
def test_a_real_run_stays_on_this_machine(tmp_path):
    """Not by the session's terminal: its record of connections would hold the one that proves the watch."""
    command = [sys.executable, "-m", "flows.cli", "doctor", "--only", "prefect-scheduler", "--offline", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SCANSHIFT_"))}
    told = subprocess.run(
        command, cwd=ROOT, env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    record = json.loads(told.stdout)
    assert (told.returncode, record["broken"]) == (0, 0), told.stdout
    scheduler, offline = record["checks"]
    assert "made runs" in scheduler["words"]
    assert "3 scans scored" in offline["words"]
