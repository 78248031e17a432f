"""The shift flow: read both sides, measure how far apart they are, write one page and one record."""

import contextlib
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_lines
from flows.progress import make_watch
from flows.request import read_request
from flows.seal import sealed
from pipeline.config import make_config
from pipeline.score.folder import sole_run
from pipeline.shift.compare import Sides, compare
from pipeline.shift.sides import Setting
from pipeline.shift.write import write_shift


def run_lock(request: str) -> contextlib.ExitStack:
    """Take the locks of the run, for as long as the stack stays open."""
    asked = read_request(request)
    locks = contextlib.ExitStack()
    locks.enter_context(sole_run(asked.space, Path(asked.out)))
    return locks


def run_shift(request: str) -> dict[str, Any]:
    """Measure the shift as the request says, and return what was written."""
    asked = read_request(request)
    sides = Sides(
        reference=Path(asked.sources[0]),
        incoming=Path(asked.sources[1]),
        bundle=Path(asked.bundle) if asked.bundle else None,
        reference_site=asked.options["reference_site"],
        incoming_site=asked.options["incoming_site"],
    )
    watch = make_watch(run=Path(asked.run))
    compared = compare(sides, Setting(make_config(asked.options["config"]), asked.space, watch))
    return write_shift(compared, Path(asked.out))


shift_task = task(name="shift", cache_policy=NO_CACHE)(sealed(run_shift))


@flow(name="scanshift-shift")
def shift_flow(request: str) -> dict[str, Any]:
    """Measure the shift between two sides as a request file says.

    Args:
        request: Path of the request file inside the workspace.
    """
    with sealed(run_lock)(request):
        result: dict[str, Any] = shift_task(request)
    publish_lines("scanshift-shift", "Shift", result["lines"])
    return result
