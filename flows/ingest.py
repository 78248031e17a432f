"""The ingest flow: find, check, read and catalogue every series."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_counts
from flows.progress import make_watch
from flows.request import read_request
from flows.seal import sealed
from pipeline.ingest.intake import take_in


def run_intake(request: str) -> dict[str, Any]:
    """Ingest what the request names."""
    asked = read_request(request)
    archives = bool(asked.options.get("archives"))
    return take_in(asked.sources, asked.space, make_watch(run=Path(asked.run)), archives=archives)


ingest_task = task(name="ingest", cache_policy=NO_CACHE)(sealed(run_intake))


@flow(name="scanshift-ingest")
def ingest_flow(request: str) -> dict[str, Any]:
    """Ingest the sources that a request file names.

    Args:
        request: Path of the request file inside the workspace.
    """
    result: dict[str, Any] = ingest_task(request)
    publish_counts("scanshift-ingest", "Ingested series", result["counts"])
    return result
