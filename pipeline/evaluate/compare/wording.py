"""What the comparison of two models allows one to say, in sentences."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.wording import FEW, Verdict

ALPHA = 0.05
NAMED = 3


def p_words(p: float | None) -> str:
    """A p-value with three decimals, or that it is smaller; a dash for none."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(difference: Mapping[str, Any], *, turned: bool = False) -> str:
    """A difference in words, such as `+0.021 (95 % interval 0.004 to 0.038)`; `turned`, the other way round."""
    if difference["value"] is None:
        return f"not computed: {difference['reason']}"
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    if low is None:
        return f"{-value if turned else value:+.3f} ({difference['reason']})"
    if turned:
        value, low, high = -value, -high, -low
    return f"{value:+.3f} (95 % interval {low:.3f} to {high:.3f})"


def comparison_verdict(measured: Mapping[str, Any]) -> Verdict:
    """Which model ranks which class better beyond chance, after Holm, and what to bear in mind."""
    size = f"{measured['n']} scans of {measured['n_patients']} patients"
    tested, classes = measured["tested"], measured["classes"]
    if not tested:
        reasons = sorted({of["auroc"]["reason"] for of in classes.values()})
        return Verdict("unclear", f"No AUROC could be compared: {'; '.join(reasons)}; {size}.", _details(measured))
    after = f" after Holm over {len(tested)} classes" if len(tested) > 1 else ""
    shown = [name for name in tested if classes[name]["auroc"]["adjusted"] < ALPHA]
    if not shown:
        name = min(tested, key=lambda each: classes[each]["auroc"]["p_value"])
        auroc = classes[name]["auroc"]
        found = f"for {name} B - A is {signed(auroc['difference'])}, p {_equals(auroc['adjusted'])}{after}"
        headline = f"No difference in AUROC is shown: {found}; {size}. That does not show that the two are equal."
        return Verdict("unclear", headline, _details(measured))
    parts = []
    for winner, turned in (("B", False), ("A", True)):
        won = [name for name in shown if (classes[name]["auroc"]["difference"]["value"] < 0) == turned]
        if won:
            won.sort(key=lambda each: classes[each]["auroc"]["p_value"])
            short = len(shown) > 1
            listed = ", ".join(_won(name, classes[name]["auroc"], turned=turned, short=short) for name in won[:NAMED])
            more = f" and {len(won) - NAMED} more" if len(won) > NAMED else ""
            parts.append(f"{winner} has the higher AUROC for {listed}{more}")
    return Verdict("shown", f"{'; '.join(parts)}{after}; {size}.", _details(measured))


def _won(name: str, auroc: Mapping[str, Any], *, turned: bool, short: bool) -> str:
    """One class and by how much; without limits where several are told, which the table has."""
    p = f"p {_equals(auroc['adjusted'])}"
    if short:
        value = auroc["difference"]["value"]
        return f"{name} ({-value if turned else value:+.3f}, {p})"
    return f"{name}: {signed(auroc['difference'], turned=turned)}, {p}"


def _equals(p: float) -> str:
    return p_words(p) if p < 0.001 else f"= {p_words(p)}"


def _details(measured: Mapping[str, Any]) -> tuple[str, ...]:
    details = []
    rare = [name for name, of in measured["classes"].items() if min(of["support"], of["n"] - of["support"]) < FEW]
    if rare:
        details.append(f"Fewer than {FEW} scans on a side, so the test is rough: {', '.join(rare)}.")
    accuracy = measured["accuracy"]["difference"]
    details.append(f"Accuracy, B - A: {signed(accuracy)}.")
    details.append("The test is of how scans are ranked (AUROC); calls depend on each model's own thresholds too.")
    details.append("Intervals stand alone: none is widened for many classes; the adjusted p is.")
    return tuple(details)


def class_line(name: str, auroc: Mapping[str, Any]) -> str:
    """One class as a line of text."""
    a, b = ("–" if auroc[side]["value"] is None else f"{auroc[side]['value']:.3f}" for side in "ab")
    test = f"p {_equals(auroc['adjusted'])} adjusted" if auroc["adjusted"] is not None else "not tested"
    return f"{name}: AUROC A {a}, B {b}, B - A {signed(auroc['difference'])}, {test}"
