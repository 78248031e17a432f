"""Whether a bundle's policy is kept, in sentences."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.wording import say

OUTCOMES = {"kept": "holds", "broken": "does not hold", "open": "agrees, without proof", None: "cannot be judged"}
OF = {"sensitivity": "abnormal", "false_alarm": "normal"}
FIGURES = {
    "sensitivity": "share of abnormal scans found",
    "false_alarm": "share of normal scans called abnormal, each patient counted once",
}


def policy_sentences(policy: Mapping[str, Any] | None) -> list[str]:
    """What the policy does on these scans, and the groups where it does not hold.

    Args:
        policy: Of metrics.json, or None.
    """
    if policy is None:
        return []
    test, promised = policy["test"], policy["promised"]
    name = f"The policy {policy['rule']} ({policy['words']})"
    if promised is None:
        found = f"{say(test['sensitivity'])} of abnormal scans are found, {say(test['specificity'])} of normal scans"
        return [f"{name}: {found} are left alone. {_upper(test['promise_reason'])}."]
    figure = promised["figure"]
    words = {
        "kept": "holds on these scans",
        "broken": "does not hold on these scans",
        "open": "agrees with these scans, without proof",
        None: f"cannot be judged on these scans ({test.get('promise_reason')})",
    }[test["promise"]]
    other = next(each for each in FIGURES if each != figure)
    sentences = [f"{name} {words}: {_beside(policy, figure)}. {_upper(_beside(policy, other))}."]
    for column, groups in policy["groups"].items():
        for value, group in groups.items():
            if "withheld" in group:
                continue
            part = group[OF[figure]]["scans"] < test[OF[figure]]["scans"]  # all of them together are told already
            if part and group["promise"] == "broken":
                where = f"where {column} is {value or '(empty)'}"
                sentences.append(f"The policy {policy['rule']} does not hold {where}: {say(group[figure])}.")
    return sentences


def _beside(policy: Mapping[str, Any], figure: str) -> str:
    """A figure, and what it was on the scans that chose the threshold."""
    before = next((a["value"] for a in policy["validation"] if a["name"] == figure), None)
    chosen = f"; {before:.3f} on those that chose the threshold" if before is not None else ""
    return f"{FIGURES[figure]} {say(policy['test'][figure])}{chosen}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
