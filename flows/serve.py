"""Scheduled scoring: a Prefect server of the workspace's own, and the nightly flow served on it."""

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.error import URLError

from flows.automations import HEARTBEAT_SECONDS, ensure_automations
from flows.embedded import children_outlive_interrupts
from flows.request import Request
from flows.settings import configure_prefect
from pipeline.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import CronSchedule

START_SECONDS = 120
STOP_SECONDS = 30


def serve_nightly(request: Request, *, cron: str, timezone: str, port: int) -> None:
    """Score the request's folder whenever the cron says so, until interrupted; one run at a time.

    A real server is started on loopback, because the embedded one creates no scheduled runs; it ends runs whose
    process died. With PREFECT_API_URL set, that server is used instead, as it is.

    Raises:
        ConfigError: If the cron or the time zone makes no sense.
        PipelineError: If the server does not start.
    """
    configure_prefect(request.space.prefect_home)
    os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_SECONDS))
    schedule = make_schedule(cron, timezone)
    server = None if os.environ.get("PREFECT_API_URL") else start_server(port)
    try:
        from prefect.context import refresh_global_settings_context

        from flows.nightly import nightly_flow

        refresh_global_settings_context()  # Prefect was imported before the server's address was known
        if server is not None:
            ensure_automations()
        nightly_flow.serve(
            name=f"nightly-{deployment_id(request)}",
            schedules=[schedule],
            parameters={"request": request.save()},
            limit=1,
            global_limit=1,
        )
    finally:
        if server is not None:
            stop_server(server)


def deployment_id(request: Request) -> str:
    """Tells the deployments of several output folders apart on one server, without naming a folder."""
    return hashlib.sha256(request.out.encode()).hexdigest()[:8]


def make_schedule(cron: str, timezone: str) -> "CronSchedule":
    """The schedule, checked.

    Raises:
        ConfigError: If the cron or the time zone makes no sense.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValueError as error:
        raise ConfigError(f"schedule {cron!r} in {timezone!r}: not understood") from error


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(port: int) -> subprocess.Popen[bytes]:
    """Start `prefect server start` on loopback, wait until it answers, and point this process at it.

    Raises:
        PipelineError: If the port is taken, or the server does not answer in two minutes.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise PipelineError(f"port {port} is taken; choose another with --port, or set PREFECT_API_URL to use it")
    api = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_SERVER_UI_API_URL"] = api
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with children_outlive_interrupts():
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=2):
                os.environ["PREFECT_API_URL"] = api
                return server
        except (URLError, OSError):
            time.sleep(0.5)
    stop_server(server)
    raise PipelineError(f"the Prefect server did not start on port {port}")


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """End a server, by force where it does not end itself."""
    server.terminate()
    try:
        server.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
