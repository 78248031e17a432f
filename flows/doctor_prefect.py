"""Prefect: is it silent, does the server answer, does its scheduler make runs."""

import base64
import json
import os
import time
import urllib.request
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from flows.serve import free_port, start_server, stop_server
from flows.settings import SILENT
from pipeline.doctor.finding import Level, Told, check, some

ANSWER_SECONDS = 10
SCHEDULER_SECONDS = 90
SHOWN = 200
BUSY_TRIES, BUSY_SECONDS = 6, 2.0


@check("prefect-settings")
def check_settings() -> Told:
    """Whether Prefect, as it reads its settings, neither calls home nor stores log lines; the user's own come first."""
    from prefect.settings import Settings

    settings = Settings()
    loud = [
        name
        for name, speaks in {
            "DO_NOT_TRACK": os.environ.get("DO_NOT_TRACK", "").lower() not in ("1", "true", "yes", "on"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": settings.server.analytics_enabled,
            "PREFECT_LOGGING_TO_API_ENABLED": settings.logging.to_api.enabled,
            "PREFECT_RESULTS_PERSIST_BY_DEFAULT": settings.results.persist_by_default,
        }.items()
        if speaks
    ]
    if loud:
        right = [f"{name}={SILENT[name]}" for name in loud]
        return Level.BROKEN, f"set otherwise by you; {some(right)} would keep it silent", tuple(loud)
    if settings.server.ui.v2_enabled:
        return (
            Level.WARNING,
            "the new interface makes browsers ask for an outside host; PREFECT_SERVER_UI_V2_ENABLED=false",
        )
    return Level.OK, "silent: no telemetry, no log lines or results stored"


@check("prefect-server")
def check_server() -> Told:
    """Whether the server of PREFECT_API_URL answers, in the version that is installed here."""
    api = os.environ.get("PREFECT_API_URL", "")
    if not api:
        return Level.OK, "none named by PREFECT_API_URL; commands start their own"
    try:
        ask(api, "/health")
        there = str(ask(api, "/admin/version"))
    except OSError as error:
        return Level.BROKEN, f"{host_of(api)}: {getattr(error, 'reason', None) or error}"
    here = version("prefect")
    if there != here:
        return Level.WARNING, f"{host_of(api)} answers with Prefect {there}, here is {here}"
    return Level.OK, f"{host_of(api)} answers, Prefect {there}"


@check("prefect-scheduler")
def check_scheduler(seconds: float = SCHEDULER_SECONDS) -> Told:
    """Whether a server's scheduler makes runs: that of PREFECT_API_URL, which is only looked at, or one started here.

    A server whose packages do not fit each other answers all the same, and never makes a run.
    """
    if api := os.environ.get("PREFECT_API_URL", ""):
        return _looked_at(api)
    server = start_server(free_port())
    try:
        return _tried(os.environ["PREFECT_API_URL"], seconds)
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        stop_server(server)


def _looked_at(api: str) -> Told:
    active = [
        found["id"]
        for found in ask(api, "/deployments/filter", {"limit": SHOWN})
        if not found.get("paused") and any(schedule["active"] for schedule in found.get("schedules", []))
    ]
    if not active:
        return Level.WARNING, f"{host_of(api)} has no active schedule, which would show whether it makes runs"
    if _scheduled(api, active):
        return Level.OK, f"{host_of(api)} has runs scheduled"
    return Level.BROKEN, f"{host_of(api)}: {len(active)} deployments with an active schedule and no run; see its log"


def _tried(api: str, seconds: float) -> Told:
    """Make a flow with a schedule on a server of our own, and wait for its first run."""
    flow = ask(api, "/flows/", {"name": "doctor"})["id"]
    every = [{"schedule": {"interval": 3600}, "active": True}]
    deployment = ask(api, "/deployments/", {"name": "doctor", "flow_id": flow, "schedules": every})["id"]
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if _scheduled(api, [deployment]):
            return Level.OK, f"a server started here made runs within {time.monotonic() - begin:.0f} s"
        time.sleep(0.5)
    return Level.BROKEN, f"a server started here made no run in {seconds:.0f} s; check the packages"


def _scheduled(api: str, deployments: list[str]) -> bool:
    asked = {
        "limit": 1,
        "deployments": {"id": {"any_": deployments}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    return bool(ask(api, "/flow_runs/filter", asked))


def ask(api: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What a Prefect server answers; a body makes it a POST.

    Raises:
        OSError: If it does not answer, or with an error.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif login := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api.rstrip('/')}{path}", content, headers)
    for left in reversed(range(BUSY_TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or not left:  # its database is locked for a moment
                raise
            time.sleep(BUSY_SECONDS)
    return None


def host_of(api: str) -> str:
    """Host and port of a URL, without what may stand before them."""
    return urlsplit(api).netloc.rpartition("@")[2] or "PREFECT_API_URL"
