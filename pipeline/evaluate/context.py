"""What a report says of the model and the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from models.bundle import Bundle
from pipeline.config import Config
from pipeline.evaluate.report import ReportContext
from pipeline.model_record import ModelRecord
from pipeline.provenance import versions


def report_context(
    record: ModelRecord,
    bundle: Bundle,
    title: str,
    notes: Sequence[str],
    left_out: Sequence[tuple[int, str]],
    *,
    detector: Mapping[str, Any] | None = None,
) -> ReportContext:
    """What a report says of a model and the run, without any identity; `detector` as `ReportContext` has it."""
    return ReportContext(
        title=title,
        bundle=bundle.digest[:12],
        backbone=record.backbone,
        weights=record.weights["origin"],
        classes=record.classes,
        splits=record.training,
        detector=detector,
        **_of_run(record.config, notes, left_out),
    )


def refusal_context(
    config: Config,
    notes: Sequence[str],
    left_out: Sequence[tuple[int, str]],
    *,
    weights: str,
    splits: Mapping[str, Mapping[str, int]],
    detector: Mapping[str, Any] | None = None,
) -> ReportContext:
    """The same for a run that gave no model."""
    return ReportContext(
        title="Adaptation",
        bundle="",
        backbone=config.backbone,
        weights=weights,
        classes=config.classes,
        splits=splits,
        detector=detector,
        **_of_run(config, notes, left_out),
    )


def _of_run(config: Config, notes: Sequence[str], left_out: Sequence[tuple[int, str]]) -> dict[str, Any]:
    return {
        "strategy": config.strategy,
        "task": config.task,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "refused": dict(Counter(reason.partition(":")[0] for _, reason in left_out)),
        "notes": tuple(notes),
        "config": {key: str(value) for key, value in config.model_dump(mode="json").items()},
        "versions": versions(),
    }
