"""The nightly flow: fetch, find, score, compare with the reference, one row in the drift diary."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.artifacts import publish_classes, publish_counts, publish_link, publish_markdown
from flows.nightly_words import drift_chart
from flows.progress import make_watch
from flows.pull_recent import fetch_recent
from flows.request import Request, read_request
from flows.retry import retried_task
from flows.score import find_task, finish_task, run_lock, score_shards
from flows.seal import SealedError, failure_logged, log_failure, sealed
from pipeline.config import make_config
from pipeline.diary.close import Scored, add_labels, close_night, scored, write_page
from pipeline.diary.record import Diary
from pipeline.registry.approved import chosen_bundle
from pipeline.score.folder import planned
from pipeline.shift.sides import Setting

RECENT = 14
SHOWN = ("night", "counts", "classes", "decisions", "p", "alarm")


def night_of(asked: Request, scheduled: datetime | None) -> str:
    """The date of a run: as asked for, else of its schedule, in the schedule's time zone, else in the machine's."""
    if asked.options.get("night"):
        return str(asked.options["night"])
    name = asked.options.get("timezone")
    return (scheduled or datetime.now(UTC)).astimezone(ZoneInfo(name) if name else None).date().isoformat()


def run_pull(request: str, night: str) -> dict[str, Any]:
    """Fetch what the PACS has of the last days into the incoming folder, and count it."""
    asked = read_request(request)
    return fetch_recent(asked.options["pull"], Path(asked.sources[0]), night, make_watch(run=Path(asked.run)))


def looked_at(request: str) -> Scored:
    """The run's plan beside what the ledger holds of it."""
    asked = read_request(request)
    run = Path(asked.run)
    bundle = chosen_bundle(asked.bundle, run)
    setting = Setting(make_config({"device": asked.options["device"]}), asked.space, make_watch(run=run))
    return scored(Path(asked.out), bundle, planned(run), setting)


def run_new(request: str, night: str) -> dict[str, Any]:
    """Whether anything is `new`, and `since` which row; where nothing is, labels that arrived are still looked at."""
    found = looked_at(request)
    new = found.night(night)
    told = {"new": not new.unchanged, "since": new.since}
    if new.unchanged:
        _labels(request, found)
        told["diary"] = write_page(found.diary)
    return told


def run_diary(request: str, night: str, pull: dict[str, Any]) -> dict[str, Any]:
    """Write the night's row and the page; the row as plain values, empty where nothing was settled."""
    found = looked_at(request)
    row = close_night(found, night, pull=pull)
    _labels(request, found)
    page = write_page(found.diary)
    lines = row.proposals if row is not None else ()
    for line in lines:
        found.setting.watch.note(f"proposed: {line}")
    told = {} if row is None else {name: getattr(row, name) for name in SHOWN}
    return {**told, "proposals": list(lines), "diary": page}


def _labels(request: str, found: Scored) -> None:
    if labels := read_request(request).options.get("labels"):
        add_labels(found, Path(labels))


def run_chart(request: str) -> str:
    """The last nights as a table in Markdown; dates, counts and figures."""
    return drift_chart(Diary(Path(read_request(request).out)).rows()[-RECENT:])


pull_task = retried_task("pull", run_pull, (30, 300))
new_task = task(name="what-is-new", cache_policy=NO_CACHE)(sealed(run_new))
diary_task = task(name="drift-diary", cache_policy=NO_CACHE)(sealed(run_diary))


@flow(name="scanshift-nightly")
def nightly_flow(request: str) -> Any:
    """Score what arrived and write the night into the drift diary; a run that finds nothing new ends at once.

    It fails where nothing is new and the pull that should have brought it failed.

    Args:
        request: Path of the request file inside the workspace.
    """
    asked = sealed(read_request)(request)
    with failure_logged(request), sealed(run_lock)(request):
        night = sealed(night_of)(asked, runtime.flow_run.scheduled_start_time)
        pull, failed = _pulled(request, night) if asked.options.get("pull") else ({}, None)
        shards = find_task(request)
        new: dict[str, Any] = new_task(request, night)
        if not new["new"]:
            if failed is not None:  # no row would tell of it
                raise failed
            told = f"nothing new since {new['since'] or 'the beginning'}"
            return Completed(message=told, data={"told": told, "diary": new["diary"], "counts": {}, "proposals": []})
        score_shards(request, shards)
        result: dict[str, Any] = finish_task(request)
        row: dict[str, Any] = diary_task(request, night, pull)
        if failed is not None and not row.get("counts"):  # what is new could not be scored
            raise failed
    _publish(request, asked, row)
    return {"scores": result["scores"], "notice": result["notice"], "told": "", "pull": pull, "counts": {}, **row}


def _pulled(request: str, night: str) -> tuple[dict[str, Any], SealedError | None]:
    """What was fetched; where the PACS cannot be reached, why, and the night goes on with what is there."""
    try:
        found: dict[str, Any] = pull_task(request, night)
    except SealedError as error:
        sealed(log_failure)(request, error, "the pull failed")
        return {"reason": error.kind}, error
    return found, None


def _publish(request: str, asked: Request, row: dict[str, Any]) -> None:
    if not row.get("counts"):
        return
    publish_counts("scanshift-nightly", f"Night of {row['night']}", row["counts"])
    total = max(1, sum(row["classes"].values()))
    rows = [{"class": name, "scans": n, "share": f"{n / total:.1%}"} for name, n in row["classes"].items()]
    publish_classes("scanshift-classes", "Most probable class of the night's scans", rows)
    publish_markdown("scanshift-drift", sealed(run_chart)(request))
    if url := asked.options.get("report_url"):
        publish_link("scanshift-diary", f"{url.rstrip('/')}/diary.html", "The drift diary")
