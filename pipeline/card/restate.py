"""The facts of a card after another policy was set: figures at the new thresholds, and none that were of the old."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.card.facts import CardFacts
from pipeline.decide.decision_scores import ABNORMAL, UNLABELLED, DecisionScores
from pipeline.evaluate.estimates import Estimates, Statistic, estimate, null
from pipeline.evaluate.metrics import METRICS, count_cells, count_metrics, sum_by_patient
from pipeline.evaluate.one_versus_rest import one_versus_rest
from pipeline.evaluate.predictions import Flags, Floats, Indices
from pipeline.model_record import ModelRecord

CALLED = METRICS[2:]  # those that depend on a threshold
GONE = "of another policy; not measured again under this one"


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A row of the card's table: what is called positive, and what is."""

    name: tuple[str, ...]
    score: Floats
    positive: Flags
    called: Flags


def restate(facts: CardFacts, record: ModelRecord, scores: DecisionScores, change: str) -> CardFacts:
    """Facts that are true of a bundle with another policy.

    What no threshold touches (AUROC, AUPRC, calibration, pretraining) stays. Sensitivity, specificity, PPV, NPV and F1
    by class and of the decision are counted again on the held-out scores that the bundle keeps, with intervals by
    patient. By site, and by label of a detector, they are not known any more, and say so.

    Args:
        facts: Of the bundle from before.
        record: Of the new one.
        scores: Held-out scores of both.
        change: The change in words.
    """
    labelled = scores.side != UNLABELLED
    patient = np.unique(scores.patient[labelled], return_inverse=True)[1].astype(np.intp)
    found = _figures(list(_rows(record, scores, labelled)), patient, record.config.seed)
    metrics = _without_called(facts.metrics, record)
    for name in metrics["classes"]:
        known = name in record.thresholds and ("classes", name, CALLED[0]) in found
        metrics["classes"][name] |= {m: found["classes", name, m] if known else null(GONE) for m in CALLED}
        metrics["classes"][name]["threshold"] = record.thresholds.get(name)
    metrics["anomaly"] = metrics["anomaly"] | {metric: found["anomaly", metric] for metric in CALLED}
    metrics["anomaly"]["threshold"] = record.anomaly_threshold
    return facts.model_copy(update={"metrics": metrics, "changes": (*facts.changes, change)})


def _rows(record: ModelRecord, scores: DecisionScores, labelled: Flags) -> Iterator[_Row]:
    score, positive = scores.score[labelled], scores.side[labelled] == ABNORMAL
    if record.policy.raw_threshold is not None:
        called = score >= record.policy.raw_threshold
        yield from (_Row((*name,), score, positive, called) for name in (("anomaly",), ("classes", record.classes[1])))
        return
    yield _Row(("anomaly",), score, positive, score >= record.anomaly_threshold)
    if scores.probability is None or scores.truth is None:
        return
    for n, name in enumerate(record.classes):
        own = scores.probability[labelled, n]
        yield _Row(("classes", name), own, scores.truth[labelled, n] == 1, own >= record.thresholds[name])


def _figures(rows: list[_Row], patient: Indices, seed: int) -> Estimates:
    patients = int(patient.max(initial=-1)) + 1
    if not patients:
        return {(*row.name, metric): null("no labelled scan was kept") for row in rows for metric in CALLED}
    statistics = [_counted(row, patient, patients) for row in rows]
    found = estimate(statistics, patients=patients, rows=patient.size, resamples=2000, seed=seed)
    return {name: number for several in found for name, number in several.items()}


def _counted(row: _Row, patient: Indices, patients: int) -> Statistic:
    """The metrics of `one_versus_rest` that only count, without its ranking."""
    whole = one_versus_rest(
        row.name,
        row.score,
        positive=row.positive,
        patient=patient,
        patients=patients,
        threshold=None,
        decided=row.called,
    )
    cells = sum_by_patient(count_cells(row.positive, row.called), patient, patients)
    return Statistic(whole.quantities[2 : len(METRICS)], whole.patients, lambda weights: count_metrics(cells @ weights))


def _without_called(metrics: Mapping[str, Any], record: ModelRecord) -> dict[str, Any]:
    """Metrics in which nothing hangs on a threshold any more; those of the classes are still to be set."""
    gone = {metric: null(GONE) for metric in CALLED}
    kept = {key: value for key, value in metrics.items() if key not in ("disagreement", "false_alarms")}
    kept["classes"] = {
        name: {key: value for key, value in row.items() if key != "wilson"} for name, row in metrics["classes"].items()
    }
    kept["macro"] = metrics["macro"] | gone
    if record.task != "multiclass":
        kept["accuracy"] = metrics["accuracy"] | null(GONE)
    if "labels" in metrics:
        kept["labels"] = {
            name: row | gone | {"threshold": record.anomaly_threshold} for name, row in metrics["labels"].items()
        }
    kept["groups"] = {
        column: {name: _group(group, gone) for name, group in groups.items()}
        for column, groups in metrics["groups"].items()
    }
    return kept


def _group(group: Mapping[str, Any], gone: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "n": group["n"],
        "n_patients": group["n_patients"],
        "classes": {name: row | gone for name, row in group["classes"].items()},
        "macro": group["macro"] | gone,
        **{key: group[key] for key in ("prevalence", "against", "withheld", "n_patients_shown") if key in group},
    }
