import json
import signal
import socket
import time
import urllib.request

import pytest

from flows import serve
from flows.automations import NAME
from pipeline.errors import ConfigError, PipelineError


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_schedule_keeps_cron_and_time_zone():
    schedule = serve.make_schedule("0 4 * * *", "Europe/Berlin")
    assert (schedule.cron, schedule.timezone) == ("0 4 * * *", "Europe/Berlin")


@pytest.mark.parametrize(("cron", "zone"), [("every night", "UTC"), ("61 4 * * *", "UTC"), ("0 4 * * *", "Mars/Base")])
def test_a_schedule_that_makes_no_sense_is_refused(cron, zone):
    with pytest.raises(ConfigError, match="not understood"):
        serve.make_schedule(cron, zone)


def test_a_port_that_is_taken_is_told_at_once(monkeypatch):
    monkeypatch.delattr(serve.subprocess, "Popen")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PipelineError, match=f"port {port} is taken"):
            serve.start_server(port)


def test_a_server_that_ends_at_once_is_told(monkeypatch):
    monkeypatch.setattr(serve.sys, "executable", "/bin/false")
    with pytest.raises(PipelineError, match="did not start"):
        serve.start_server(free_port())


@pytest.mark.slow
def test_scheduled_runs_appear_and_score(terminal, end_group, incoming, radiograph_bundle, tmp_path):
    """A real server, a schedule of every minute: a Scheduled run appears, and one completes with its diary row."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    out = tmp_path / "out"

    def ask(path, **body):
        request = urllib.request.Request(
            f"{api}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    arguments = ["serve", incoming, "--bundle", radiograph_bundle, "-o", out, "--port", port, "--cron", "* * * * *"]
    process = terminal.start(*arguments)
    states = set()
    try:
        end = time.monotonic() + 280
        while time.monotonic() < end and process.poll() is None and "COMPLETED" not in states:
            time.sleep(1)
            try:
                states |= {run["state_type"] for run in ask("/flow_runs/filter")}
            except OSError:
                continue
        assert process.poll() is None, process.communicate()
        assert {"SCHEDULED", "COMPLETED"} <= states
        assert (out / "scores.csv").read_text().count(",scored,") == 24
        (row,) = map(json.loads, (out / "diary.jsonl").read_text().splitlines())
        assert row["counts"]["scored"] == 24
        (automation,) = ask("/automations/filter")
        assert automation["name"] == NAME
        assert {artifact["key"] for artifact in ask("/artifacts/filter")} >= {"scanshift-nightly", "scanshift-drift"}
        (deployment,) = ask("/deployments/filter")
        assert deployment["concurrency_limit"] == 1 or deployment["global_concurrency_limit"]["limit"] == 1
        assert "incoming" not in json.dumps(deployment["parameters"])
        process.send_signal(signal.SIGINT)
        told, error = process.communicate(timeout=90)
        assert "Traceback" not in error
        assert told.splitlines()[-1] == "stopped"
        with pytest.raises(OSError, match="refused"):
            ask("/flow_runs/filter")
    finally:
        end_group(process)
