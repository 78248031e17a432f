"""The adapt flow: one training run is one task, which goes on from its checkpoint after a kill."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_classes
from flows.progress import make_watch
from flows.register import register
from flows.request import read_request
from flows.seal import sealed
from pipeline.config import make_config
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.registry.take_in import note_adapted


def run_adapt(request: str) -> dict[str, Any]:
    """Adapt as the request says, and return the headline."""
    asked = read_request(request)
    watch = make_watch(run=Path(asked.run))
    plan = make_plan(Path(asked.sources[0]), asked.space, make_config(asked.options), watch)
    for note in plan.cohort.notes:
        watch.note(f"note: {note}")
    result = adapt(plan, asked.space, Path(asked.bundle), Path(asked.run), watch)
    registered = register(watch, note_adapted, asked.space, result.bundle, result.result)
    return {
        "bundle": str(result.bundle),
        "digest": result.digest,
        "registered": registered,
        "report": str(result.report),
        "result": str(result.result),
        "verdict": result.verdict,
        "val_auroc": result.val_auroc,
        "left_out": result.left_out,
        "classes": result.classes,
    }


adapt_task = task(name="adapt", cache_policy=NO_CACHE)(sealed(run_adapt))


@flow(name="scanshift-adapt")
def adapt_flow(request: str) -> dict[str, Any]:
    """Adapt a backbone as a request file says.

    Args:
        request: Path of the request file inside the workspace.
    """
    result: dict[str, Any] = adapt_task(request)
    publish_classes("scanshift-adapt", "Validation rows of the adaptation", result.pop("classes"))
    return result
