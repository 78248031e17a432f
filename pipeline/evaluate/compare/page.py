"""The comparison as one self-contained HTML page: no scripts, nothing fetched, nothing in it that names a patient."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from sklearn.metrics import roc_curve

from pipeline.evaluate.compare.match import Pair
from pipeline.evaluate.compare.measure import CALLS, scores_of
from pipeline.evaluate.compare.wording import comparison_verdict, p_words, signed
from pipeline.evaluate.pages import pages
from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot, new_square

MOST_PLOTS = 12
NARROW = 0.01  # least half-width of the scale of differences


def render(pair: Pair, record: Mapping[str, Any]) -> str:
    """The page as text; the same comparison gives the same bytes.

    Args:
        pair: The scans, for the curves.
        record: What compare.json holds.
    """
    return (
        pages()
        .get_template("compare.html")
        .render(
            record=record,
            verdict=comparison_verdict(record),
            widest=_widest(record),
            plots=_curves(pair, record),
            calls=CALLS,
            p_words=p_words,
            signed=signed,
        )
    )


def _widest(record: Mapping[str, Any]) -> float:
    """How far from zero the scale of AUROC differences reaches."""
    found = [of["auroc"]["difference"] for of in record["classes"].values()]
    ends = [abs(each[name]) for each in found for name in ("value", "low", "high") if each[name] is not None]
    return max(ends, default=0) + NARROW


def _curves(pair: Pair, record: Mapping[str, Any]) -> list[Plot]:
    """ROC curves of both models, a plot for each class that was tested; of many, those with the smallest p."""
    classes = record["classes"]
    chosen = sorted(record["tested"], key=lambda name: classes[name]["auroc"]["p_value"])[:MOST_PLOTS]
    plots = []
    with mpl.rc_context(STYLE):
        for place, name in enumerate(chosen):
            figure, axes = new_square("1 - specificity", "Sensitivity")
            axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8)
            c = pair.first.classes.index(name)
            for side, table, colour, dash in zip("ab", (pair.first, pair.second), COLOURS, ("-", "--"), strict=False):
                false_share, found_share, _ = roc_curve(table.truth[:, c], scores_of(table, c))
                axes.plot(false_share, found_share, color=colour, linestyle=dash)
                found, specificity = (classes[name][metric][side]["value"] for metric in CALLS)
                if found is not None and specificity is not None:
                    axes.plot(1 - specificity, found, "os"[side == "b"], color=colour, markersize=6, clip_on=False)
            auroc = [f"{classes[name]['auroc'][side]['value']:.3f}" for side in "ab"]
            caption = (
                f"{name}: AUROC of A (solid) {auroc[0]}, of B (dashed) {auroc[1]}. "
                "Dot and square: the thresholds in use. Diagonal: chance."
            )
            plots.append(as_plot(figure, f"roc-{place}", caption))
    return plots
