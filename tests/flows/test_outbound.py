"""What the kernel sees of the network: the demo, scoring on Dask, and a served schedule reach loopback alone."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from pipeline.doctor.addresses import from_strace
from tests.clusters import ROOT, dask_cluster, free_port, listens, stop, wait_until

NAMES = ("PREFECT_", "SCANSHIFT_", "DO_NOT_TRACK", "CI", "DASK_")


@pytest.fixture
def watched(tmp_path):
    """Put before a command: every process of it leaves a file of its network calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    prefix = [
        "strace",
        "-ff",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "256",
        "-e",
        "trace=network",
        "-e",
        "signal=none",
        "-o",
        tmp_path / "calls",
    ]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    return tuple(prefix)


@pytest.fixture
def attempts(tmp_path):
    def found():
        lines = (path.read_text(errors="replace").splitlines() for path in tmp_path.glob("calls.*"))
        return [attempt for one in lines for attempt in from_strace(one)]

    return found


def scanshift(watched, folder, *arguments):
    """The command in an environment without any setting that could keep it silent."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(NAMES)}
    (folder / "home").mkdir()
    return subprocess.Popen(
        [*map(str, watched), sys.executable, "-m", "flows.cli", *map(str, arguments)],
        env={**clean, "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_reaches_loopback_alone(watched, attempts, samples, tmp_path):
    """Ingest, adapt, validate and score, each with Prefect's server."""
    process = scanshift(watched, tmp_path, "demo", "--samples", samples, "-o", tmp_path / "out")
    try:
        out, error = process.communicate(timeout=900)
    finally:
        stop([process])
    assert process.returncode == 0, error
    assert out.splitlines()[-1] == f"scores: {tmp_path / 'out' / 'scores' / 'scores.csv'}"
    found = attempts()
    assert [attempt for attempt in found if attempt.call == "connect"]
    assert not [str(attempt) for attempt in found if attempt.beyond]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_dask_cluster_and_its_client_reach_loopback_alone(watched, attempts, samples, radiograph_bundle, tmp_path):
    with dask_cluster(tmp_path, workers=1, prefix=watched) as dask:
        arguments = ["score", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out"]
        process = scanshift(watched, tmp_path, *arguments, "--dask", dask.address)
        try:
            out, error = process.communicate(timeout=900)
        finally:
            stop([process])
        assert process.returncode == 0, error
        assert out.splitlines()[-1] == "1 ignored, 2 refused, 24 scored"
    found = attempts()
    assert [attempt for attempt in found if attempt.call == "connect" and attempt.port == dask.port]
    assert not [str(attempt) for attempt in found if attempt.beyond]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_served_schedule_reaches_loopback_alone(watched, attempts, samples, radiograph_bundle, tmp_path):
    port = free_port()
    # Every third minute, so that no other run has begun when the first one is done and the interrupt is sent.
    minutes = ",".join(str((time.gmtime().tm_min + n) % 60) for n in range(2, 30, 3))
    arguments = ["serve", samples / "incoming", "--bundle", radiograph_bundle, "-o", tmp_path / "out", "--port", port]
    process = scanshift(watched, tmp_path, *arguments, "--cron", f"{minutes} * * * *", "--timezone", "UTC")

    def completed():
        url = f"http://127.0.0.1:{port}/api/flow_runs/filter"
        request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
            return "COMPLETED" in {run["state_type"] for run in json.load(answer)}
        return False

    try:
        wait_until(completed, process, seconds=900)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=200)
        assert out.splitlines()[-1] == "stopped", error
        assert not listens(port)
    finally:
        stop([process])
    found = attempts()
    assert [attempt for attempt in found if attempt.call == "connect" and attempt.port == port]
    assert not [str(attempt) for attempt in found if attempt.beyond]
