"""The validate flow: figures per class and site on rows that the bundle has not seen."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_classes
from flows.progress import make_watch
from flows.request import read_request
from flows.seal import sealed
from pipeline.evaluate.report import per_class_rows
from pipeline.evaluate.validate import validate
from pipeline.shortcuts.wording import found_sentences


def run_validate(request: str) -> dict[str, Any]:
    """Validate as the request says, and return the headline."""
    asked = read_request(request)
    result = validate(
        Path(asked.bundle),
        Path(asked.sources[0]),
        asked.space,
        Path(asked.out),
        make_watch(run=Path(asked.run)),
        shortcuts=bool(asked.options.get("shortcuts")),
        gallery=bool(asked.options.get("gallery", True)),
    )
    return {
        "out": str(result.out),
        "report": str(result.out / "report.html"),
        "n": result.metrics["n"],
        "n_patients": result.metrics["n_patients"],
        "auroc": result.metrics["macro"]["auroc"],
        "accuracy": result.metrics["accuracy"],
        "left_out": len(result.left_out),
        "shortcuts": found_sentences(result.metrics.get("shortcuts")),
        "classes": per_class_rows(result.metrics),
    }


validate_task = task(name="validate", cache_policy=NO_CACHE)(sealed(run_validate))


@flow(name="scanshift-validate")
def validate_flow(request: str) -> dict[str, Any]:
    """Validate a bundle as a request file says.

    Args:
        request: Path of the request file inside the workspace.
    """
    result: dict[str, Any] = validate_task(request)
    publish_classes("scanshift-validate", "Per class, with 95 % intervals", result["classes"])
    return result
