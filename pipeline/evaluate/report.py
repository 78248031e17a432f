"""The reports of adapt and validate: one self-contained HTML file each, and the per-class table as CSV."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.card.facts import CardFacts
from pipeline.evaluate.clinical_plots import LEAST, class_reliability, decision_curves, reading
from pipeline.evaluate.closed_form import SHARES
from pipeline.evaluate.decision_plots import decision_page
from pipeline.evaluate.detection_page import detection_page
from pipeline.evaluate.detection_wording import detection_verdict, ranking_verdict
from pipeline.evaluate.groups import weakest_first
from pipeline.evaluate.ladder_plot import rung_intervals
from pipeline.evaluate.one_versus_rest import MEASURES
from pipeline.evaluate.pages import DISCLAIMER, pages
from pipeline.evaluate.plots import EpochRow, Plot, class_curves, learning_curves, page_style, reliability
from pipeline.evaluate.policy_wording import OUTCOMES, policy_sentences
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.prevalence import at_prevalence
from pipeline.evaluate.wording import Verdict, gaps, pretraining_sentence, say, validation_verdict
from pipeline.gallery.gallery import Gallery
from pipeline.shift.of_validation import ShiftFound
from pipeline.workspace import safe_cell, whole_file

__all__ = [
    "DISCLAIMER",
    "EpochRow",
    "ReportContext",
    "Sections",
    "per_class_rows",
    "write_adapt_report",
    "write_per_class_csv",
    "write_validation_report",
]

LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
}


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What a report says beside its numbers. Nothing in it may identify a patient.

    Attributes:
        title: Heading.
        bundle: Short digest of the bundle; empty where none was made.
        backbone, strategy, weights, task: Names of what ran.
        classes: Class names, the first is the normal class.
        created: ISO 8601 time.
        refused: Reason code to number of scans left out.
        notes: Warnings, shown near the top.
        config: Key to value of the configuration that ran.
        versions: Package to version.
        splits: Split to class to number of scans.
        history: Epochs of the training, if known.
        detector: For `one_class`, the detector and how it came about, as result.json has it; what it lacks is not
            shown: `name`, `backbone`, `stages`, `chosen_by`, `candidates` (`name`, `aucp`, `note`), `fitted_on`,
            `left_out` and `calibrated_on` (`scans`, `patients`, `site`), `recalibrated`, `share_normal` (value, low,
            high), `notes`, `doubtful_lines`.
    """

    title: str
    bundle: str
    backbone: str
    strategy: str
    weights: str
    task: str
    classes: tuple[str, ...]
    created: str
    refused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    history: tuple[EpochRow, ...] = ()
    detector: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sections:
    """Parts of a validation's report that are not made of its predictions alone; None leaves one out.

    Attributes:
        gallery: Hits and misses in pictures.
        shift: How far these scans lie from those of the adaptation.
        adaptation: What the bundle keeps of its adaptation.
    """

    gallery: Gallery | None = None
    shift: ShiftFound | None = None
    adaptation: CardFacts | None = None


def write_validation_report(
    path: Path,
    metrics: Mapping[str, Any],
    table: PredictionTable,
    context: ReportContext,
    sections: Sections | None = None,
) -> None:
    """Write what validation found.

    Args:
        path: The HTML file.
        metrics: From `measure`.
        table: The predictions that were measured.
        context: What ran, and what was left out.
        sections: Further parts of the page.
    """
    more = _more(sections or Sections())
    if table.task == "one_class":
        values = detection_page(metrics, table) | decision_page(metrics)
        _write(path, "detection.html", context, verdict=detection_verdict(metrics), **more, **values)
        return
    styles = [page_style(place) for place in range(len(metrics["classes"]))]
    _write(
        path,
        "validation.html",
        context,
        verdict=_verdict(metrics),
        metrics=metrics,
        plots=class_curves(table, metrics),
        styles=dict(zip(metrics["classes"], styles, strict=True)),
        reliability=_reliability(metrics),
        class_reliability=class_reliability(metrics),
        least=LEAST,
        decision_plots=decision_curves(metrics),
        learning=learning_curves(context.history) if context.history else [],
        **decision_page(metrics),
        **more,
    )


def _more(sections: Sections) -> dict[str, Any]:
    ladder = sections.adaptation.ladder if sections.adaptation else None
    return {
        "gallery": sections.gallery,
        "scripted": sections.gallery is not None and sections.gallery.volumes,
        "shift": sections.shift,
        "adaptation": sections.adaptation,
        "rungs": rung_intervals(ladder["rungs"]) if ladder else None,
    }


def write_adapt_report(
    path: Path,
    context: ReportContext,
    history: Sequence[EpochRow],
    val_metrics: Mapping[str, Any] | None,
    verdict: str,
    *,
    ladder: Mapping[str, Any] | None = None,
    backbones: Mapping[str, Any] | None = None,
    table: PredictionTable | None = None,
) -> None:
    """Write what an adaptation did, also when it refuses.

    Args:
        path: The HTML file.
        context: What ran.
        history: The epochs; may be empty.
        val_metrics: From `measure` on the validation rows, or None.
        verdict: What came of it, in one sentence; one that begins with `refused` is shown as such.
        ladder: Rungs, their evidence and the shift, as result.json has them.
        backbones: The ranking of `backbone: auto`, as result.json has it.
        table: For `one_class`, the predictions on the validation rows, to draw them.
    """
    unmeasured = ladder is not None and "source" in ladder["measured_on"]
    if verdict.lower().startswith("refused"):
        headline, _, seen = verdict.partition(" Seen: ")
        judged = Verdict("against", headline, (f"Seen: {seen}",) if seen else ())
    elif val_metrics is None or unmeasured:
        judged = Verdict("unclear", verdict)
    elif context.task == "one_class":
        judged = ranking_verdict(val_metrics, verdict)
    else:
        judged = Verdict(validation_verdict(val_metrics).kind, verdict)
    if context.task == "one_class":
        _write(path, "adapt_detection.html", context, verdict=judged, **detection_page(val_metrics, table))
        return
    _write(
        path,
        "adapt.html",
        context,
        verdict=judged,
        metrics=val_metrics,
        learning=learning_curves(history) if history else [],
        reliability=_reliability(val_metrics) if val_metrics is not None else None,
        unmeasured=unmeasured,
        ladder=ladder,
        rungs=rung_intervals(ladder["rungs"]) if ladder else None,
        backbones=backbones,
    )


def _verdict(metrics: Mapping[str, Any]) -> Verdict:
    """The judgement by AUROC, and first below it what became of the policy."""
    verdict = validation_verdict(metrics)
    policy = metrics.get("policy")
    broken = policy is not None and policy["test"]["promise"] == "broken"
    kind = "mixed" if broken and verdict.kind == "shown" else verdict.kind
    return Verdict(kind, verdict.headline, (*policy_sentences(policy), *verdict.details))


def _reliability(metrics: Mapping[str, Any]) -> Plot | None:
    curve = metrics["calibration"]["curve"]
    return reliability(curve) if curve["after"] else None


def _write(path: Path, template: str, context: ReportContext, **values: Any) -> None:
    environment = pages()
    environment.filters["weakest_first"] = weakest_first
    words = {"labels": LABELS, "say": say, "gaps": gaps, "worth": pretraining_sentence}
    shown = values.get("metrics")
    words |= {"reading": reading, "outcomes": OUTCOMES, "at_prevalence": at_prevalence(shown) if shown else {}}
    page = environment.get_template(template).render(**{"context": context, **words, **values})
    with whole_file(path) as file:
        file.write(page)


def per_class_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each class: support, threshold, then each metric with its limits; 4 decimals, empty for null.

    Then prevalence, DeLong's limits of AUROC with p, as it is and adjusted, and Wilson's limits of the shares. For
    `one_class` the rows are the anomaly, then each label against all normals, for which the latter are empty.
    """
    rows = []
    for name, record in (*metrics["classes"].items(), *metrics.get("labels", {}).items()):
        row = {"class": safe_cell(name), "support": str(record["support"]), "threshold": _four(record["threshold"])}
        for metric in MEASURES:
            row |= {metric: _four(record[metric]["value"])} | _sides(metric, record[metric])
        rows.append(row | {"prevalence": _four(record["prevalence"])} | _by_formula(record))
    return rows


def _sides(name: str, number: Mapping[str, Any]) -> dict[str, str]:
    return {f"{name}_{side}": _four(number.get(side)) for side in ("low", "high")}


def _by_formula(record: Mapping[str, Any]) -> dict[str, str]:
    delong: Mapping[str, Any] = record.get("auroc_delong", {})
    row = _sides("auroc_delong", delong)
    for name, key in (("auroc_p", "p_value"), ("auroc_p_adjusted", "adjusted")):
        p = delong.get(key)
        row[name] = "" if p is None else f"{p:.3g}"
    for share in SHARES:
        row |= _sides(f"{share}_wilson", record.get("wilson", {}).get(share, {}))
    return row


def write_per_class_csv(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write `per_class_rows` as CSV."""
    rows = per_class_rows(metrics)
    with whole_file(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _four(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
