"""Plots of the report as inline SVG: they take the page's text colour, and the same input gives the same bytes."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from pipeline.evaluate.predictions import PredictionTable

# Okabe & Ito 2008, without the yellow that white paper swallows
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("-", "--", ":", "-.")
INK = "#010203"  # stands in for the page's text colour, as the first colour does for its blue
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "scanshift",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "path.simplify_threshold": 0.4,  # points: a curve of 20,000 scans keeps those that are seen, so pages stay small
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One epoch of training.

    Attributes:
        phase: Phase of the strategy, such as `head`.
        epoch: Epoch within the phase, from 1.
        train_loss, val_loss: Mean losses.
        val_auroc: Macro AUROC on validation rows, or None where it is not defined.
    """

    phase: str
    epoch: int
    train_loss: float
    val_loss: float
    val_auroc: float | None


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of the report.

    Attributes:
        svg: The drawing, safe to stand in a page.
        caption: What it shows and how to read it.
    """

    svg: Markup
    caption: str


def series_style(position: int) -> tuple[str, str]:
    """Colour and dash of the series at a position; the pairs repeat after 24."""
    return COLOURS[position % len(COLOURS)], DASHES[position // len(COLOURS) % len(DASHES)]


def page_style(position: int) -> tuple[str, str]:
    """As `series_style`, with the colour as the page's style sheet knows it."""
    colour, dash = series_style(position)
    return colour.replace(COLOURS[0], "var(--blue)"), dash


def class_curves(table: PredictionTable, metrics: Mapping[str, Any]) -> list[Plot]:
    """ROC and precision-recall curves of every class that has both sides, with the operating points as dots."""
    with mpl.rc_context(STYLE):
        roc, roc_axes = new_square("1 - specificity", "Sensitivity")
        recall, recall_axes = new_square("Sensitivity (recall)", "PPV (precision)")
        roc_axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8)
        for place, c in enumerate(table.measured):
            record = metrics["classes"][table.classes[c]]
            if record["auroc"]["value"] is None:
                continue
            colour, dash = series_style(place)
            truth = table.truth[:, c]
            score = table.anomaly_score if table.task == "one_class" else table.probability[:, c]
            false_share, found_share, _ = roc_curve(truth, score)
            roc_axes.plot(false_share, found_share, color=colour, linestyle=dash)
            precision, found_share, _ = precision_recall_curve(truth, score)
            recall_axes.plot(found_share, precision, color=colour, linestyle=dash, drawstyle="steps-post")
            recall_axes.axhline(truth.mean(), color=colour, alpha=0.4, linewidth=0.8, linestyle=dash)
            found, specificity, ppv = (record[m]["value"] for m in ("sensitivity", "specificity", "ppv"))
            if found is not None and specificity is not None:
                roc_axes.plot(1 - specificity, found, "o", color=colour, markersize=6, clip_on=False)
            if found is not None and ppv is not None:
                recall_axes.plot(found, ppv, "o", color=colour, markersize=6, clip_on=False)
        areas = ", ".join(
            f"{name} {record['auroc']['value']:.3f}"
            for name, record in metrics["classes"].items()
            if record["auroc"]["value"] is not None
        )
        return [
            as_plot(roc, "roc", f"ROC, one versus rest. Dot: the threshold in use. Diagonal: chance. AUROC: {areas}."),
            as_plot(recall, "pr", "Precision and recall. Thin line: share of positives, which is what chance reaches."),
        ]


def reliability(curve: Mapping[str, Sequence[Mapping[str, float]]]) -> Plot:
    """How often claims of each confidence were right, before and after calibration.

    Args:
        curve: `before` and `after`, each as `reliability_curve` returns it.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_square("Stated probability", "Share that was right")
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8)
        for stage, colour, dash, marker in (("before", COLOURS[1], "--", "s"), ("after", COLOURS[0], "-", "o")):
            points = curve[stage]
            x, y = [p["confidence"] for p in points], [p["accuracy"] for p in points]
            size = [p["n"] for p in points]
            axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.1)
            area = 8 + 70 * np.sqrt(np.array(size) / max(size, default=1))
            axes.scatter(x, y, s=area, color=colour, marker=marker, alpha=0.75, linewidths=0, clip_on=False)
        caption = (
            "Reliability before (orange squares) and after calibration (blue dots); on the diagonal a probability "
            "means what it says. Larger marks hold more scans."
        )
        return as_plot(figure, "reliability", caption)


def learning_curves(history: Sequence[EpochRow]) -> list[Plot]:
    """Losses, and AUROC on validation rows, over the epochs of all phases."""
    steps = np.arange(1, len(history) + 1)
    starts = [i for i, row in enumerate(history) if i == 0 or row.phase != history[i - 1].phase]
    with mpl.rc_context(STYLE):
        figures = []
        for name, label in (("loss", "Loss"), ("val_auroc", "Validation AUROC")):
            figure = Figure(figsize=(4.2, 2.7), layout="constrained")
            axes = figure.add_subplot(xlabel="Epoch", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlim(0.5, len(history) + 0.5)
            for start in starts:
                axes.axvline(start + 0.5, color=INK, alpha=0.3, linewidth=0.8)
                axes.text(start + 0.6, 1.02, history[start].phase, transform=axes.get_xaxis_transform(), fontsize=8)
            if name == "loss":
                axes.plot(steps, [r.train_loss for r in history], "s--", color=COLOURS[1], markersize=3.5)
                axes.plot(steps, [r.val_loss for r in history], "o-", color=COLOURS[0], markersize=3.5)
            else:
                shown = [np.nan if r.val_auroc is None else r.val_auroc for r in history]
                axes.plot(steps, shown, "o-", color=COLOURS[0], markersize=3.5)
            figures.append(figure)
        return [
            as_plot(
                figures[0], "loss", "Loss on training (orange, dashed) and validation scans (blue). Lines: new phase."
            ),
            as_plot(figures[1], "auroc", "Macro AUROC on validation scans."),
        ]


def new_square(x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot of two shares, 0 to 1 each."""
    figure = Figure(figsize=(3.3, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    return figure, axes


def as_plot(figure: Figure, name: str, caption: str) -> Plot:
    """Draw a figure as SVG that can share a page with others: own ids, no fixed size, no metadata, a description."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawing.replace("xlink:href", "href"))
    drawing = drawing.replace(INK, "currentColor").replace(COLOURS[0], "var(--blue)")
    drawing = re.sub(r' d="[^"]*"', _rounded, drawing)
    box = re.search(r'viewBox="[^"]*"', drawing)
    head = f'<svg {box.group() if box else ""} role="img" aria-label="{escape(caption)}">'
    return Plot(Markup(re.sub(r"<svg[^>]*>", lambda _: head, drawing, count=1)), caption)


def _rounded(path: re.Match[str]) -> str:
    """Coordinates of a path to a hundredth of a point."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}", path.group())
