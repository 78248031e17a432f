"""What a report says of the model and the run."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from models.bundle import Bundle
from pipeline.evaluate.report import ReportContext
from pipeline.model_record import ModelRecord
from pipeline.provenance import versions


def report_context(
    record: ModelRecord,
    bundle: Bundle,
    title: str,
    notes: Sequence[str],
    left_out: Sequence[tuple[int, str]],
) -> ReportContext:
    """What a report says of the model and the run, without any identity."""
    reasons = Counter(reason.partition(":")[0] for _, reason in left_out)
    return ReportContext(
        title=title,
        bundle=bundle.digest[:12],
        backbone=record.backbone,
        strategy=record.config.strategy,
        weights=record.weights["origin"],
        task=record.task,
        classes=record.classes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        refused=dict(reasons),
        splits=record.training,
        notes=tuple(notes),
        config={key: str(value) for key, value in record.config.model_dump(mode="json").items()},
        versions=versions(),
    )
