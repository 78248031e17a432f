"""Sentences of the model card that follow from the run: failures, limitations, and what was not done."""

from collections.abc import Mapping
from typing import Any

from pipeline.card.facts import CardFacts
from pipeline.evaluate.promise import Promise
from pipeline.evaluate.wording import FEW
from pipeline.model_record import ModelRecord

SHOWN = 5


def promise_spread(record: ModelRecord) -> tuple[float, float] | None:
    """Where the false-alarm rate of a single calibration lies in 95 % of cases; None where no rate is promised."""
    rule = record.policy.rule
    if record.detector is None or rule.kind != "false_alarm":
        return None
    return Promise(rule.amount, record.detector.calibrated_on.patients).spread


def failures(record: ModelRecord, metrics: Mapping[str, Any]) -> list[str]:
    """Where the model went wrong on the scans that it was measured on, by class and site; no single scan is shown."""
    lines = [*_missed(metrics), *_confused(metrics["confusion"])]
    rows = metrics["labels"] if record.detector else metrics["classes"]
    known = {name: row["auroc"]["value"] for name, row in rows.items() if row["auroc"]["value"] is not None}
    if len(known) > 1:
        weakest = min(known, key=lambda name: known[name])
        lines.append(f"lowest AUROC: {weakest} ({known[weakest]:.3f}, {rows[weakest]['support']} scans of it)")
    worst = metrics["worst_group"]
    if worst["value"] is not None and worst["column"] == "site" and len(metrics["groups"].get("site", {})) > 1:
        lines.append(f"weakest site: {worst['group'] or '(empty)'}, macro AUROC {worst['value']:.3f}")
    return lines


def _missed(metrics: Mapping[str, Any]) -> list[str]:
    decision = metrics["anomaly"]
    abnormal, normal = decision["support"], metrics["n"] - decision["support"]
    lines = []
    for name, count, what in (
        ("sensitivity", abnormal, "abnormal scans, the decision missed"),
        ("specificity", normal, "normal scans, the decision called abnormal:"),
    ):
        value = decision[name]["value"]
        if value is not None:
            lines.append(f"of {count} {what} {round(count * (1 - value))}")
    return lines


def _confused(confusion: Mapping[str, Any]) -> list[str]:
    if not confusion["counts"]:
        return []
    names, counts = confusion["classes"], confusion["counts"]
    found = [
        (count, sum(row), names[n], names[m])
        for n, row in enumerate(counts)
        for m, count in enumerate(row)
        if n != m and count
    ]
    found.sort(key=lambda one: -one[0])
    lines = [f"{count} of {total} scans of {name} were taken for {other}" for count, total, name, other in found]
    more = [f"{len(lines) - SHOWN} more pairs of classes were confused, less often"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more] or ["no scan was taken for another class"]


def limitations(record: ModelRecord, facts: CardFacts) -> list[str]:
    """What follows from how much was there, and of what kind."""
    metrics = facts.metrics
    lines = list(record.policy.notes)
    rows = metrics["labels"] if record.detector else metrics["classes"]
    rare = [f"{name} ({row['support']})" for name, row in rows.items() if row["support"] < FEW]
    if rare:
        lines.append(f"fewer than {FEW} scans were measured of: {', '.join(rare)}")
    if record.weights["origin"] == "random":
        lines.append("the network started from random weights, without pretraining")
    if len(facts.sites) == 1:
        lines.append(f"all scans come from one site ({next(iter(facts.sites))})")
    if not facts.sites:
        lines.append("no site is named: whether the figures hold at each hospital cannot be seen")
    if record.detector is not None:
        lines.append("the score is a rank among normal scans: it says neither what is wrong nor how likely disease is")
        lines.extend(record.detector.notes)
    return lines


def not_done(record: ModelRecord, facts: CardFacts) -> list[str]:
    """What a reader could expect and does not find."""
    tests = facts.totals.get("test")
    reserved = "no row was reserved as test"
    if tests is not None and tests.scans:
        reserved = f"{tests.scans} test rows of {tests.patients} patients were set aside and not looked at"
    lines = [
        f"internal test: not in this card; {reserved}; `scanshift validate` measures on them",
        "external validation, at a hospital that neither training nor thresholds saw: not in this card",
        "prospective use, comparison with readers, effect on care: not studied",
        "figures by age, sex, scanner or view: not in this card; `scanshift validate` groups by columns of labels.csv",
        f"spread over repeated trainings: not measured, this is one run (seed {record.config.seed})",
        "robustness to noise, artefacts and other protocols: not measured",
        "shortcuts (site, markers at the border): not looked for here; `scanshift validate --shortcuts` does",
    ]
    if facts.metrics["pretraining"]["difference"]["value"] is None:
        lines.append(f"comparison with random weights: {facts.metrics['pretraining']['difference']['reason']}")
    return lines
