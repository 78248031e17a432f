"""What a run of task `one_class` tells: report.html and result.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from pipeline.detect.calibrate import rows_of
from pipeline.detect.record import DetectorRecord
from pipeline.evaluate.context import refusal_context, report_context
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.report import write_adapt_report
from pipeline.learn.plan import Plan
from pipeline.learn.predictions import ANOMALY
from pipeline.model_record import ModelRecord
from pipeline.prepare.cohort import Case
from pipeline.workspace import write_json


def verdict_of(record: ModelRecord, metrics: Mapping[str, Any]) -> str:
    """What may be claimed, in words."""
    about = record.detector
    if about is None:
        return ""
    auroc = metrics["classes"][ANOMALY]["auroc"]["value"]
    seen = "no abnormal scan is labelled, so nothing says what it finds,"
    if auroc is not None:
        seen = f"AUROC {auroc:.3f} of the labelled abnormal ones"
    again = f" Scores are ranked among normals of {about.calibrated_on.site}." if about.recalibrated else ""
    return (
        f"Fitted {about.name} on {about.backbone} to {about.fitted_on.scans} normal scans; {seen} among "
        f"{metrics['n']} {rows_of(about.calibrated_on.site)}.{again} These rows chose the threshold; run scanshift "
        "validate on test rows before trusting it."
    )


def tell(
    plan: Plan,
    run: Path,
    record: ModelRecord,
    doubtful: Sequence[Case],
    table: PredictionTable,
    metrics: dict[str, Any],
    bundle: Bundle,
    verdict: str,
) -> tuple[Path, Path]:
    """Write the report and result.json of a run that gave a bundle."""
    detector = _shown(record.detector, doubtful) if record.detector else None
    context = report_context(record, bundle, "Adaptation", plan.cohort.notes, plan.cohort.left_out, detector=detector)
    report = run / "report.html"
    write_adapt_report(report, context, [], metrics, verdict, table=table)
    result = _result(plan, verdict, detector)
    result |= {
        "bundle": bundle.digest,
        "measured_on": record.policy.measured_on,
        "policy": record.policy.model_dump(mode="json"),
        "validation": metrics,
    }
    write_json(run / "result.json", result)
    return report, run / "result.json"


def tell_refusal(plan: Plan, run: Path, about: DetectorRecord, doubtful: Sequence[Case], refusal: str) -> Path:
    """Write them for a run that gives none; returns the report."""
    detector = _shown(about, doubtful)
    verdict = f"Refused: {refusal}."
    context = refusal_context(
        plan.config,
        plan.cohort.notes,
        plan.cohort.left_out,
        weights=plan.weights["origin"],
        splits=plan.counts(),
        detector=detector,
    )
    report = run / "report.html"
    write_adapt_report(report, context, [], None, verdict)
    write_json(run / "result.json", _result(plan, verdict, detector))
    return report


def _shown(about: DetectorRecord, doubtful: Sequence[Case]) -> dict[str, Any]:
    """With the lines of labels.csv that were left out, whose labels are to be checked; no bundle holds them."""
    return about.shown() | {"doubtful_lines": [case.line for case in doubtful]}


def _result(plan: Plan, verdict: str, detector: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "bundle": None,
        "verdict": verdict,
        "training": plan.counts(),
        "notes": list(plan.cohort.notes),
        "left_out": [{"line": line, "reason": reason} for line, reason in plan.cohort.left_out],
        "history": [],
        "detector": detector,
    }
