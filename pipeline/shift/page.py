"""A shift as one self-contained HTML page: no scripts, nothing fetched, nothing in it that names a patient."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.pages import pages
from pipeline.evaluate.wording import say
from pipeline.shift.compare import Comparison
from pipeline.shift.plots import distributions, scale, scatter
from pipeline.shift.wording import KIND_WORDS, accuracy_sentence, p_words, prevalence_sentence, shift_verdict

# name of a size: what it is, where its scale begins, and where it ends at least
SIZES = {
    "c2st_auc": ("Told apart by a classifier", "AUROC: 0.5 alike, 1 apart without error", 0.4, 1.0),
    "proxy_a_distance": ("Proxy A-distance", "0 alike, 2 apart without error", 0.0, 2.0),
    "mmd2": ("Mean discrepancy (MMD²)", "0 alike", 0.0, 0.0),
    "frechet": ("Fréchet distance", "in squared units of the features", 0.0, 0.0),
}
ACCURACIES = {
    "atc_entropy": "ATC, negative entropy",
    "atc_confidence": "ATC, largest probability",
    "doc": "Difference of confidences",
}
PURPOSES = {
    "accuracy_interval": "Measuring the accuracy",
    "auroc_interval": "Measuring the AUROC",
    "learning": "Learning from them",
}
LEFT_OUT = {
    "IN_TRAINING": "patient or scan was in the bundle's training",
    "NOT_DRAWN": "more scans than are compared; others were drawn",
    "UNLABELLED": "no label, in a reference whose other scans have one",
}
MOST_WORDS = 4


def render(compared: Comparison) -> str:
    """The page as text; the same comparison gives the same bytes."""
    measured = compared.measured
    template = pages("pipeline.shift").get_template("shift.html")
    return template.render(
        ran=compared.ran,
        measured=measured,
        verdict=shift_verdict(measured),
        kind=KIND_WORDS,
        sizes=[
            (*words[:2], measured["sizes"][name], scale(measured["sizes"][name], *words[2:]))
            for name, words in SIZES.items()
        ],
        scatter=scatter(compared.reference, compared.incoming, int(compared.ran["seed"])),
        distributions=distributions(compared.reference, compared.incoming, compared.classes, compared.task),
        fields=sorted(measured["headers"], key=_drift),
        field_side=field_side,
        accuracies=ACCURACIES,
        accuracy=accuracy_sentence(measured),
        prevalence=prevalence_sentence(measured),
        left_out=LEFT_OUT,
        p_words=p_words,
        purposes=PURPOSES,
        say=say,
    )


def _drift(field: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Largest drift first, what could not be tested last."""
    return field["p_value"] is None, field["p_value"] or 0.0, field["field"]


def field_side(side: Mapping[str, Any]) -> str:
    """What a header field holds on one side: quartiles of numbers, or the most frequent words with their shares."""
    if side["missing"] == side["patients"]:
        return "missing"
    gone = f"; missing {side['missing'] / side['patients']:.0%}" if side["missing"] else ""
    if side["quartiles"]:
        low, middle, high = side["quartiles"]
        return f"{middle:g} ({low:g} to {high:g}){gone}"
    if not side["shares"]:
        return f"too few to show{gone}"
    words = sorted(side["shares"].items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{word} {share:.0%}" for word, share in words[:MOST_WORDS])
    return shown + (f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else "")
