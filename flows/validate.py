"""The validate flow: figures per class and site on rows that the bundle has not seen."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish_classes
from flows.progress import make_watch
from flows.register import register
from flows.request import read_request
from flows.seal import sealed
from pipeline.evaluate.policy_wording import policy_sentences
from pipeline.evaluate.prevalence import at_prevalence
from pipeline.evaluate.report import per_class_rows
from pipeline.evaluate.validate import validate
from pipeline.registry.take_in import note_validated
from pipeline.shortcuts.wording import found_sentences


def run_validate(request: str) -> dict[str, Any]:
    """Validate as the request says, and return the headline."""
    asked = read_request(request)
    watch = make_watch(run=Path(asked.run))
    bundle, labels = Path(asked.bundle), Path(asked.sources[0])
    result = validate(
        bundle,
        labels,
        asked.space,
        Path(asked.out),
        watch,
        shortcuts=bool(asked.options.get("shortcuts")),
        prevalence=asked.options.get("prevalence"),
        gallery=bool(asked.options.get("gallery", True)),
    )
    registered = register(watch, note_validated, asked.space, bundle, labels, result.metrics)
    return {
        "registered": registered,
        "out": str(result.out),
        "report": str(result.out / "report.html"),
        "n": result.metrics["n"],
        "n_patients": result.metrics["n_patients"],
        "auroc": result.metrics["macro"]["auroc"],
        "accuracy": result.metrics["accuracy"],
        "left_out": len(result.left_out),
        "policy": policy_sentences(result.metrics.get("policy")),
        "at_prevalence": at_prevalence(result.metrics),
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
