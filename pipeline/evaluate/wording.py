"""What the numbers allow one to say, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.evaluate.metrics import METRICS

FEW = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement that a report opens with.

    Attributes:
        kind: `shown` (better than chance), `mixed` (the same with a broken policy), `unclear`, or `against` (worse
            than chance).
        headline: One sentence.
        details: What else a reader must know before using the number.
        badge: The judgement in a few words, where the page does not word it.
    """

    kind: Literal["shown", "mixed", "unclear", "against"]
    headline: str
    details: tuple[str, ...] = ()
    badge: str = ""


def say(number: Mapping[str, Any], digits: int = 3) -> str:
    """A number with its interval in words, such as `0.912 (95 % interval 0.880 to 0.940)`."""
    if number["value"] is None:
        return f"not computed: {number['reason']}"
    if number["low"] is None:
        return f"{number['value']:.{digits}f} ({number['reason']})"
    return f"{number['value']:.{digits}f} (95 % interval {number['low']:.{digits}f} to {number['high']:.{digits}f})"


def validation_verdict(metrics: Mapping[str, Any]) -> Verdict:
    """Whether the interval of the macro AUROC lies above chance (0.5), and what to bear in mind."""
    auroc = metrics["macro"]["auroc"]
    size = f"{metrics['n']} scans of {metrics['n_patients']} patients"
    kind: Literal["shown", "unclear", "against"] = "unclear"
    if auroc["value"] is None:
        headline = f"No overall AUROC could be computed on {size}: {auroc['reason']}."
    elif auroc["low"] is None:
        headline = f"Macro AUROC {say(auroc)} on {size}. Without an interval this shows nothing beyond these scans."
    elif auroc["low"] > 0.5:
        kind = "shown"
        headline = f"Better than chance on these scans: macro AUROC {say(auroc)}, on {size}."
    elif auroc["high"] < 0.5:
        kind = "against"
        headline = f"Worse than chance on these scans: macro AUROC {say(auroc)}, on {size}. Check labels and classes."
    else:
        headline = f"Not shown to be better than chance: macro AUROC {say(auroc)}, on {size}."
    return Verdict(kind, headline, tuple(_details(metrics)))


def _details(metrics: Mapping[str, Any]) -> list[str]:
    details = []
    classes = metrics["classes"]
    doubtful = [name for name, c in classes.items() if c["auroc"]["low"] is not None and c["auroc"]["low"] <= 0.5]
    if doubtful:
        details.append(f"The interval reaches chance (0.5) for: {', '.join(doubtful)}.")
    rare = [f"{name} ({c['support']})" for name, c in classes.items() if c["support"] < FEW]
    if rare:
        details.append(f"Fewer than {FEW} scans, so read with care: {', '.join(rare)}.")
    worst = metrics["worst_group"]
    if worst["value"] is not None and len(metrics["groups"][worst["column"]]) > 1:
        group = worst["group"] or "(empty)"
        details.append(f"Weakest {worst['column']}: {group}, macro AUROC {say(worst)}, on {worst['n']} scans.")
    details.append("Intervals resample patients, not scans, and each stands alone: none is widened for many classes.")
    return details


def pretraining_sentence(pretraining: Mapping[str, Any]) -> str:
    """What the comparison with random weights shows."""
    difference = pretraining["difference"]
    if difference["value"] is None:
        return f"Not compared: {difference['reason']}."
    if difference["low"] is None:
        return f"The difference in macro AUROC is {say(difference)}."
    if difference["low"] > 0:
        return f"Pretrained weights rank these scans better than random ones: difference {say(difference)}."
    if difference["high"] < 0:
        return f"Pretrained weights rank these scans worse than random ones: difference {say(difference)}."
    return f"No difference between pretrained and random weights is shown: {say(difference)}."


def gaps(metrics: Mapping[str, Any]) -> list[str]:
    """One line for each class and reason why numbers or intervals are missing."""
    lines: dict[tuple[str, str], list[str]] = {}
    for name, record in (*metrics["classes"].items(), ("mean", metrics["macro"])):
        for metric in METRICS:
            if "reason" in record[metric]:
                lines.setdefault((name, record[metric]["reason"]), []).append(metric)
    return [f"{name}: {', '.join(found)}: {reason}" for (name, reason), found in lines.items()]
