"""What the numbers of `one_class` allow one to say, in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.ranking import AT_SPECIFICITY
from pipeline.evaluate.wording import FEW, Verdict, say

PROMISES = {"kept": "holds", "broken": "does not hold", "open": "agrees, without proof", None: "cannot be judged"}


def percent(share: float) -> str:
    """A share as a percentage: `4.2 %`, `62 %`."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def percents(number: Mapping[str, Any]) -> str:
    """A share with its interval in words."""
    if number["value"] is None:
        return f"not computed: {number['reason']}"
    if number["low"] is None:
        return f"{percent(number['value'])} ({number['reason']})"
    return f"{percent(number['value'])} (95 % interval {percent(number['low'])} to {percent(number['high'])})"


def detection_verdict(metrics: Mapping[str, Any]) -> Verdict:
    """First whether the promised false-alarm rate holds, at every site; then whether anomalies rank above normals."""
    headline = f"{promise_sentence(metrics)} {ranking_sentence(metrics)}"
    details = tuple(_details(metrics))
    if metrics["false_alarms"]["promise"] == "broken" or _broken_sites(metrics):
        return Verdict("against", headline, details, "✕ More false alarms than promised")
    return replace(ranking_verdict(metrics, headline), details=details)


def ranking_verdict(metrics: Mapping[str, Any], headline: str) -> Verdict:
    """The judgement by AUROC alone, under a given headline."""
    auroc = metrics["classes"]["anomaly"]["auroc"]
    if auroc["value"] is None:
        return Verdict("unclear", headline, (), "? Not measured on anomalies")
    if auroc["low"] is None or auroc["low"] <= 0.5 <= auroc["high"]:
        return Verdict("unclear", headline, (), "? Not shown better than chance")
    if auroc["high"] < 0.5:
        return Verdict("against", headline, (), "✕ Worse than chance")
    return Verdict("shown", headline, (), "✓ Better than chance")


def promise_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether the promise holds; where it does not, the places come first."""
    alarms = metrics["false_alarms"]
    rate = alarms["by_patient"]
    once = ", each patient counted once" if alarms["n"] > alarms["n_patients"] else ""
    seen = f"of {alarms['n']} normal scans{once}, {percents(rate)} are called abnormal"
    if rate["value"] is None:
        return f"The false-alarm rate was not measured: {rate['reason']}."
    if alarms["promised"] is None:
        return f"{seen[0].upper()}{seen[1:]}; the policy promises no rate."
    promise = f"The promised {100 * alarms['promised']:g} % of false alarms"
    places = [
        f"{_place('site', name)}: {percents(found['by_patient'])} of {found['n']} normal scans are called abnormal"
        for name, found in _broken_sites(metrics)
    ]
    if places:
        return f"{promise} does not hold {'; '.join(places)}."
    words = {
        "kept": "holds",
        "broken": "does not hold",
        "open": "agrees with these scans",
        None: f"cannot be judged here: {alarms.get('promise_reason')}",
    }
    return f"{promise} {words[alarms['promise']]}: {seen}."


def ranking_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether abnormal scans rank above normal ones."""
    anomaly = metrics["classes"]["anomaly"]
    auroc = anomaly["auroc"]
    size = f"on {anomaly['support']} abnormal and {metrics['false_alarms']['n']} normal scans"
    if auroc["value"] is None:
        return f"How well anomalies are found was not measured: {auroc['reason']}."
    if auroc["low"] is None:
        return f"AUROC {say(auroc)}, {size}: without an interval this shows nothing beyond these scans."
    if auroc["low"] > 0.5:
        return f"Abnormal scans rank above normal ones: AUROC {say(auroc)}, {size}."
    if auroc["high"] < 0.5:
        return f"Abnormal scans rank below normal ones: AUROC {say(auroc)}, {size}. Check the labels."
    return f"Abnormal scans are not shown to rank above normal ones: AUROC {say(auroc)}, {size}."


def _broken_sites(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    sites = metrics["groups"].get("site", {})
    return [(n, g["false_alarms"]) for n, g in sites.items() if g["false_alarms"]["promise"] == "broken"]


def _place(column: str, name: str) -> str:
    return f"at {name or '(empty)'}" if column == "site" else f"where {column} is {name or '(empty)'}"


def _details(metrics: Mapping[str, Any]) -> Iterator[str]:
    alarms, labels = metrics["false_alarms"], metrics["labels"]
    if _broken_sites(metrics) and len(metrics["groups"]["site"]) > 1:
        yield f"Over all sites, {percents(alarms['by_patient'])} of {alarms['n']} normal scans are called abnormal."
    for column, groups in metrics["groups"].items():
        for name, group in groups.items():
            if "withheld" in group:
                continue
            part = group["false_alarms"]["n"] < alarms["n"]  # all normals together are told already
            if column != "site" and part and group["false_alarms"]["promise"] == "broken":
                rate = percents(group["false_alarms"]["by_patient"])
                yield f"More false alarms than promised {_place(column, name)}: {rate}."
    if alarms["spread"]:
        low, high = percent(alarms["spread"]["low"]), percent(alarms["spread"]["high"])
        yield (
            f"The promise is of the average over calibrations. With as many held-out normals as here, a single "
            f"calibration has a true rate of {low} to {high} in 95 % of cases, at a site like theirs."
        )
    doubtful = [name for name, c in labels.items() if c["auroc"]["low"] is not None and c["auroc"]["low"] <= 0.5]
    if doubtful:
        yield f"Not shown to be found better than by chance: {', '.join(doubtful)}."
    rare = [f"{name} ({c['support']})" for name, c in labels.items() if c["support"] < FEW]
    if rare:
        yield f"Fewer than {FEW} scans, so read with care: {', '.join(rare)}."
    if 0 < metrics["prevalence"] < 1:
        share = percent(metrics["prevalence"])
        yield f"{share} of these scans are abnormal: AUPRC, PPV, NPV and F1 are for that share."
    yield "Intervals resample patients, not scans, and each stands alone: none is widened for many labels or sites."


def detection_gaps(metrics: Mapping[str, Any]) -> list[str]:
    """One line for each row and reason why numbers or intervals are missing."""
    lines: dict[tuple[str, str], list[str]] = {}
    for name, record in (("any anomaly", metrics["classes"]["anomaly"]), *metrics["labels"].items()):
        for metric in (*METRICS, AT_SPECIFICITY):
            if "reason" in record[metric]:
                words = metric.replace("_", " ")
                lines.setdefault((name, record[metric]["reason"]), []).append(words)
    return [f"{name}: {', '.join(found)}: {reason}" for (name, reason), found in lines.items()]
