"""Plots of `one_class`: where normals and each label lie on the anomaly score, and how well each is found."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot, new_square, page_style, series_style
from pipeline.evaluate.predictions import Flags, Floats, PredictionTable

MOST = 11  # labels drawn; the table has all
FLOOR = 1e-4  # scores.csv has 4 decimals
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
BINS = 24
ALL = "any anomaly"


def drawn_labels(table: PredictionTable) -> dict[str, Flags]:
    """The most frequent labels, most frequent first, and which rows have them."""
    ordered = sorted(table.findings.items(), key=lambda item: (-int(item[1].sum()), item[0]))
    return dict(ordered[:MOST])


def label_styles(table: PredictionTable) -> dict[str, tuple[str, str]]:
    """Colour and dash of the curve of all anomalies and of each label, as the page's style sheet knows them."""
    styles = {ALL: ("currentColor", "-")}
    return styles | {name: page_style(place + 1) for place, name in enumerate(drawn_labels(table))}


def score_distribution(table: PredictionTable, threshold: float) -> Plot:
    """Anomaly scores of normals and of each label, one row each, with the threshold through all of them.

    The scale is log10(1 / (1 - score)), which gives the upper end, where decisions fall, the room it needs.
    """
    rows = {table.classes[0]: ~table.abnormal} | drawn_labels(table)
    edges = np.linspace(0, _place(np.ones(1))[0], BINS + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.0, 0.6 + 0.66 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for position, (axes, (name, rowwise)) in enumerate(zip(panels, rows.items(), strict=True)):
            place = _place(table.anomaly_score[rowwise])
            share = np.histogram(place, edges)[0] / max(place.size, 1)
            axes.stairs(share, edges, fill=True, color=series_style(position)[0], alpha=0.75)
            axes.axvline(_place(np.array([threshold]))[0], color=INK, linewidth=1.1, linestyle="--")
            label = f"{name if len(name) < 40 else name[:39] + '…'} ({place.size})"
            axes.text(0, 1.0, label, transform=axes.transAxes, va="top", fontsize=8.5, parse_math=False)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        highest = max(1e-9, *(panel.dataLim.y1 for panel in panels))
        panels[-1].set(xlim=(0, edges[-1]), ylim=(0, 1.4 * highest))  # room for the names
        panels[-1].set_xticks(_place(np.array(TICKS)), [f"{tick:g}" for tick in TICKS])
        panels[-1].set_xlabel("Anomaly score")
        called = "" if table.called is None else "; the exact decision can differ from it by a rounding"
        hidden = len(table.findings) + 1 - len(rows)
        more = f" {hidden} rarer labels are in the table alone." if hidden else ""
        caption = (
            "Share of scans by anomaly score, normals on top; number of scans in brackets. Dashed: "
            f"{threshold:.3f}, from which a scan is called abnormal{called}. The scale is stretched towards 1.{more}"
        )
        return as_plot(figure, "scores", caption)


def detection_curves(table: PredictionTable, metrics: Mapping[str, Any]) -> Plot | None:
    """ROC curves of all anomalies and of each label against all normals; None where one side is missing."""
    normal = ~table.abnormal
    if normal.all() or not normal.any():
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_square("False alarms among normals", "Share of anomalies found")
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8)
        curves = [(ALL, table.abnormal, metrics["classes"]["anomaly"], (INK, "-"))]
        for place, (name, has) in enumerate(drawn_labels(table).items()):
            curves.append((name, has, metrics["labels"][name], series_style(place + 1)))
        for name, has, record, (colour, dash) in reversed(curves):
            rows = has | normal
            false_share, found_share, _ = roc_curve(has[rows], table.anomaly_score[rows])
            width = 2.2 if name == ALL else 1.4
            axes.plot(false_share, found_share, color=colour, linestyle=dash, linewidth=width)
            found, left = record["sensitivity"]["value"], record["specificity"]["value"]
            if found is not None and left is not None:
                axes.plot(1 - left, found, "o", color=colour, markersize=6, clip_on=False)
        promised = metrics["false_alarms"]["promised"]
        words = ""
        if promised is not None:
            axes.axvline(promised, color=COLOURS[0], linewidth=0.9, linestyle=":")
            words = " Dotted: the promised false-alarm rate."
        return as_plot(figure, "roc", f"ROC. Dots: what the policy in use does. Diagonal: chance.{words}")


def _place(score: Floats) -> Floats:
    return np.asarray(-np.log10(np.clip(1 - score, FLOOR, 1)))
