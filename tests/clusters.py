"""Real servers on loopback for tests: a Dask scheduler with workers, a Prefect server with workers."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.settings import SILENT

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 120
PAGE = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")  # its HTTP server is there without one, on 0.0.0.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, log, prefix=(), **environment):
    """Start a Python module in a process group of its own, its words in a file; the prefix watches it."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    with log.open("ab") as file:
        return subprocess.Popen(
            [*map(str, prefix), sys.executable, "-m", *map(str, command)],
            env=own,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def stop(processes):
    """End process groups, by force where they do not end themselves."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)


def wait_until(true, process=None, seconds=READY_SECONDS):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not in time"
        assert process is None or process.poll() is None, "ended"
        time.sleep(0.05)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Started:
    """Processes on a port of this machine, their words in a folder."""

    folder: Path
    port: int = field(default_factory=free_port, kw_only=True)
    processes: list = field(default_factory=list, kw_only=True)


@dataclass
class Dask(Started):
    """A scheduler and its workers."""

    prefix: tuple = ()

    @property
    def address(self):
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.folder / "dask.log"

    def scheduler(self):
        command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-show", *PAGE]
        self.processes.append(start(command, self.log, self.prefix))
        wait_until(lambda: listens(self.port), self.processes[-1])

    def worker(self, **environment):
        command = ["dask", "worker", self.address, "--host", "127.0.0.1", "--nthreads", 1, *PAGE]
        options = ["--local-directory", self.folder, "--memory-limit", 0]
        self.processes.append(start([*command, *options], self.log, self.prefix, **environment))
        return self.processes[-1]


@contextlib.contextmanager
def dask_cluster(folder, workers=2, prefix=()):
    """A scheduler and so many workers, of one thread each."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    dask = Dask(folder, prefix)
    try:
        dask.scheduler()
        for _ in range(workers):
            dask.worker()
        yield dask
    finally:
        stop(dask.processes)


@dataclass
class Prefect(Started):
    """A server on a database, and workers of a process pool."""

    database: str

    @property
    def api(self):
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self):
        return {
            **SILENT,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_UI_API_URL": self.api,
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database,
        }

    def start(self, *command):
        log = self.folder / f"{len(self.processes)}-{command[0]}.log"
        self.processes.append(start(["prefect", *command], log, **self.environment))
        return log

    def run(self, *command):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *map(str, command)],
            env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=2):
                return True
        except OSError:
            return False


@contextlib.contextmanager
def prefect_server(folder, database, *, pool, workers=2):
    """A server, a process pool and so many workers of it, each of which runs one flow at a time."""
    prefect = Prefect(folder, database)
    try:
        prefect.start("server", "start", "--host", "127.0.0.1", "--port", prefect.port)
        wait_until(prefect.healthy, prefect.processes[0])
        prefect.run("work-pool", "create", pool, "--type", "process")
        for n in range(workers):
            prefect.start("worker", "start", "--pool", pool, "--type", "process", "--limit", "1", "--name", f"w{n}")
        yield prefect
    finally:
        stop(list(reversed(prefect.processes)))
