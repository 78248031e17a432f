"""What the probes and the ablation allow one to say."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.wording import say

CHANCE = 0.5
WELL_ABOVE = 0.6
LITTLE = 0.02


def column_verdict(column: str, found: Mapping[str, Any], labels: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a column can serve as a shortcut on these scans, and the sentence that says so.

    It can where the features tell its values apart among normal scans, and the column tells something of the label.

    Args:
        column: Its name.
        found: From `probe_column`.
        labels: From `probe_labels`.
    """
    among, label = found["normals"], found["label"]
    if among["low"] is None:
        return False, f"Whether the features tell {column} could not be probed on normal scans: {_why(among)}."
    if among["low"] <= CHANCE:
        return False, f"The features are not shown to tell {column} among normal scans: AUROC {say(among)}."
    seen = (
        f"The features tell {column} among normal scans with AUROC {say(among)}, {_beside(among, labels)} they tell "
        f"the labels (AUROC {say(labels)})"
    )
    if label["low"] is None:
        return False, f"{seen}; what {column} says of the label could not be measured: {_why(label)}."
    if label["low"] <= CHANCE:
        return False, (
            f"{seen}. On these scans {column} alone is not shown to predict the label (AUROC {say(label)}), so knowing "
            "it does not help here; where it does predict the label, it can mislead."
        )
    return True, (
        f"{seen}, and {column} alone predicts the label with AUROC {say(label)}: the model can be right by knowing "
        f"{column}. Trust the figures within each value of {column}, not those of all scans together."
    )


def border_verdict(found: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the border alone gives the label away, and the sentence that says so.

    Args:
        found: From `border_ablation`.
    """
    alone, lost = found["border_alone"], found["lost"]
    if alone["value"] is None or (alone["low"] is None and alone["value"] > CHANCE):
        return False, f"The border could not be judged: {_why(alone)}."
    low = alone["value"] if alone["low"] is None else alone["low"]
    without = f"without the border its AUROC is {say(found['without_border'])}, with it {say(found['intact'])}"
    if low > WELL_ABOVE:
        return True, (
            f"The border alone gives the label away: AUROC {say(alone)}; {without}. Look there for markers, text, "
            "shutters or anatomy that reaches it."
        )
    if low > CHANCE:
        return False, f"The border alone says a little of the label: AUROC {say(alone)}; {without}."
    if lost["low"] is not None and lost["low"] > LITTLE:
        return False, (
            f"The border alone is not shown to tell the label (AUROC {say(alone)}), but the model does worse without "
            f"it: {without}. Blanked images are unlike those it learned from, which may be why."
        )
    return False, f"The border alone is not shown to tell the label: AUROC {say(alone)}; {without}."


def found_sentences(shortcuts: Mapping[str, Any] | None) -> list[str]:
    """The sentences of the shortcuts that were found; none where they were not looked for."""
    if shortcuts is None:
        return []
    judged = [*shortcuts["columns"].values(), shortcuts["border"]]
    return [str(one["verdict"]) for one in judged if one["found"]]


def _beside(among: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    if labels["low"] is None:
        return "beside how"
    if among["low"] > labels["high"]:
        return "better than"
    return "less well than" if among["high"] < labels["low"] else "about as well as"


def _why(number: Mapping[str, Any]) -> str:
    return str(number["reason"]).removeprefix("no interval: ")
