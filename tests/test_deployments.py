"""prefect.yaml and compose.yaml: their syntax, their keys, and that they are as silent as the project by default."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from flows.automations import HEARTBEAT_SECONDS, SILENT_SECONDS, zombie_automation
from flows.settings import SILENT
from flows.summer_time import clock_warning

ROOT = Path(__file__).resolve().parents[1]
SERVICE = {"image", "build", "command", "environment", "ports", "volumes", "depends_on", "healthcheck", "networks"}
TOP = {"name", "services", "networks", "volumes", "x-silent"}
OUTSIDE = {"DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_SERVER_UI_V2_ENABLED"}
INSIDE = {"DO_NOT_TRACK", "PREFECT_LOGGING_TO_API_ENABLED", "PREFECT_RESULTS_PERSIST_BY_DEFAULT"}


def load(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compose():
    return load("compose.yaml")


@pytest.fixture(scope="module")
def deployment():
    (only,) = load("prefect.yaml")["deployments"]
    return only


def test_compose_has_only_keys_that_compose_knows(compose):
    assert set(compose) == TOP
    assert set(compose["services"]) == {"postgres", "prefect-server", "worker", "orthanc"}
    for service in compose["services"].values():
        assert set(service) <= SERVICE | {"restart"}
        assert "image" in service
        assert set(service["networks"]) <= set(compose["networks"])


def test_everything_that_compose_refers_to_is_there(compose):
    services = compose["services"]
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait == {"condition": "service_healthy"}
            assert "healthcheck" in services[name]
        named = [volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith(".")]
        assert set(named) <= set(compose["volumes"])


def test_compose_publishes_on_loopback_only_and_the_worker_has_no_way_out(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["worker"]["networks"] == ["inside"]


def test_compose_holds_no_password(compose):
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if "PASSWORD:" in line and not line.lstrip().startswith("#"):
            assert "${" in line
    assert "postgres:16" in text
    assert not re.search(r"image: \S+:latest", text)


@pytest.mark.parametrize(("service", "names"), [("prefect-server", OUTSIDE), ("worker", INSIDE)])
def test_containers_are_as_silent_as_the_projects_own_settings(compose, service, names):
    environment = compose["services"][service]["environment"]
    assert {name: environment[name] for name in names} == {name: SILENT[name] for name in names}


def test_the_deployment_names_a_flow_that_is_there(deployment):
    file, name = deployment["entrypoint"].split(":")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (flow,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert [argument.arg for argument in flow.args.args] == list(deployment["parameters"])


def test_nights_never_overlap_and_late_ones_are_not_repeated(deployment):
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    for schedule in deployment["schedules"]:
        assert clock_warning(schedule["cron"], "Europe/Berlin") == ""


def test_workers_are_silent_and_send_heartbeats(deployment):
    environment = deployment["work_pool"]["job_variables"]["env"]
    shared = set(environment) & set(SILENT)
    assert shared >= INSIDE
    assert {name: environment[name] for name in shared} == {name: SILENT[name] for name in shared}
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)


def test_a_run_without_heartbeat_or_end_is_crashed():
    record = zombie_automation().model_dump(mode="json")
    trigger = record["trigger"]
    assert trigger["posture"] == "Proactive"
    assert trigger["after"] == ["prefect.flow-run.heartbeat"]
    assert set(trigger["expect"]) == {
        "prefect.flow-run.heartbeat",
        *(f"prefect.flow-run.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed")),
    }
    assert trigger["within"] == SILENT_SECONDS >= 3 * HEARTBEAT_SECONDS
    assert [action["state"] for action in record["actions"]] == ["CRASHED"]
