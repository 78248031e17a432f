"""What the figures of a shift allow one to say, in sentences."""

from collections.abc import Mapping
from typing import Any, Literal

from pipeline.evaluate.wording import Verdict, say

KIND_WORDS: Mapping[str | None, str] = {
    "none": "✓ No shift found",
    "prevalence": "? Another mix of classes",
    "covariate": "✕ Scans look different",
    "both": "✕ Scans look different, another mix",
    None: "✕ A shift of unknown kind",
    "untested": "? Not tested",
}
FOUND: Mapping[str | None, str] = {
    "none": "No shift was found",
    "prevalence": "The mix of classes has shifted; each class looks as before",
    "covariate": "The incoming scans look different from the reference",
    "both": "The incoming scans look different, and the mix of classes has shifted",
    None: "The incoming scans differ from the reference; the kind of shift cannot be told",
}
NEXT: Mapping[str | None, str] = {
    "none": "Nothing to repair; look again when the scanner, the protocol or the patients change.",
    "prevalence": "Recalibrate to the new mix; aligning features would bend the classes.",
    "covariate": "Try harmonisation or alignment, and validate on labelled incoming scans before relying on the model.",
    "both": "Bring labelled incoming scans: alignment alone would pull the classes out of place.",
    None: "Validate on labelled incoming scans; a bundle, or labels on the reference, would tell the kind.",
}
FIELDS_NAMED = 5


def shift_verdict(measured: Mapping[str, Any]) -> Verdict:
    """One sentence of what was found and how sure it is, one of what to do next, and what qualifies them."""
    found, sentence = measured["kind"]["kind"], shift_sentence(measured)
    details = (accuracy_sentence(measured), *qualifications(measured))
    if measured["test"] is None:
        return Verdict("unclear", f"{sentence} Bring more scans.", details)
    colours: Mapping[str | None, Literal["shown", "unclear"]] = {"none": "shown", "prevalence": "unclear"}
    return Verdict(colours.get(found, "against"), f"{sentence} {NEXT[found]}", details)


def shift_sentence(measured: Mapping[str, Any]) -> str:
    """What was found, and how sure it is."""
    test = measured["test"]
    if test is None:
        return f"Whether there is a shift cannot be told: {measured['test_reason']}."
    sure = f"p {'' if test['p_value'] < 0.001 else '= '}{p_words(test['p_value'])}"
    apart = measured["sizes"]["c2st_auc"]
    if apart["value"] is not None:
        sure += f"; a classifier tells them apart with AUROC {say(apart, 2)}"
    return f"{FOUND[measured['kind']['kind']]} ({sure})."


def prevalence_sentence(measured: Mapping[str, Any]) -> str:
    """What the estimated mix of classes is worth."""
    kind, shift = measured["kind"]["kind"], measured["prevalence"]
    if shift is None:
        return f"Not estimated: {measured['prevalence_reason']}."
    told = "Estimated without labels, from the outputs (BCTS, EM)."
    if kind in ("none", "prevalence"):
        return f"{told} The difference is {'beyond' if shift['detected'] else 'within'} noise."
    return f"{told} It holds only where each class looks as in the reference, which is not so here."


def p_words(value: float) -> str:
    """A p-value with three decimals, or that it is smaller."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def accuracy_sentence(measured: Mapping[str, Any]) -> str:
    """The accuracy to expect, or why none is given."""
    accuracy = measured["accuracy"]
    if accuracy is None or not accuracy["estimable"]:
        reason = measured["accuracy_reason"] if accuracy is None else accuracy["reason"]
        return f"Accuracy to expect: not estimated; {reason}."
    return f"Accuracy to expect on the incoming scans, without labels: {say(accuracy['atc_entropy'])}."


def qualifications(measured: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside that: header fields that differ, doubts of the kind, remarks."""
    lines = []
    fields = [field["field"] for field in measured["headers"] if field["rejected"]]
    if fields:
        more = f" and {len(fields) - FIELDS_NAMED} more" if len(fields) > FIELDS_NAMED else ""
        lines.append(f"Header fields that differ: {', '.join(fields[:FIELDS_NAMED])}{more}.")
    if measured["kind"]["reason"]:
        lines.append(f"Kind of shift: {measured['kind']['reason']}.")
    return [*lines, *measured["remarks"]]
