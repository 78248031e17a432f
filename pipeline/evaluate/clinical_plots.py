"""Small plots, one for each class: whether its probabilities hold, and what acting on them is worth."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot

SIZE = (2.5, 2.3)
LEAST = 5  # scans of a bin, below which its share is mostly chance and is not drawn
WIDTHS = (0.1, 0.2, 0.5, 1.0)  # widths of the threshold axis; at about four times the prevalence little is left to gain


def class_reliability(metrics: Mapping[str, Any]) -> list[Plot]:
    """Stated probability against how often the class was there, in bins of equal width; a plot for each class.

    Bins of fewer than 5 scans are left out.
    """
    plots = []
    with mpl.rc_context(STYLE):
        for place, (name, record) in enumerate(metrics["calibration"]["classes"].items()):
            if not record["curve"]:
                continue
            figure, axes = _panel("Stated probability", "Share that had it")
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8)
            drawn = [point for point in record["curve"] if point["n"] >= LEAST]
            x, y, n = (np.array([point[key] for point in drawn]) for key in ("confidence", "accuracy", "n"))
            axes.plot(x, y, color=COLOURS[0], linewidth=1.1)
            area = 8 + 70 * np.sqrt(n / n.max(initial=1))
            axes.scatter(x, y, s=area, color=COLOURS[0], alpha=0.75, linewidths=0, clip_on=False)
            plots.append(as_plot(figure, f"reliability-{place}", f"{name}: {reading(record)}."))
    return plots


def reading(record: Mapping[str, Any]) -> str:
    """What slope and calibration-in-the-large say, where their intervals leave no doubt."""
    slope, level = record["slope"], record["in_the_large"]
    words = []
    if slope["low"] is not None:
        words += ["too extreme"] * (slope["high"] < 1) + ["too timid"] * (slope["low"] > 1)
    if level["low"] is not None:
        words += ["too low on average"] * (level["low"] > 0) + ["too high on average"] * (level["high"] < 0)
    if slope["low"] is None and level["low"] is None:
        return "not judged"
    return ", ".join(words) or "no miscalibration shown"


def decision_curves(metrics: Mapping[str, Any]) -> list[Plot]:
    """Net benefit of acting on the model, on everyone and on no one, over thresholds; a plot for each class."""
    curves = metrics["decision_curves"]
    plots = []
    with mpl.rc_context(STYLE):
        for place, (name, record) in enumerate((curves["classes"] or {}).items()):
            if record["at"]:
                figure, axes = _panel("Threshold", "Net benefit")
                _draw(axes, np.array(curves["thresholds"]), record)
                plots.append(as_plot(figure, f"decision-{place}", f"{name}: {_better(record)}"))
    return plots


def _draw(axes: Axes, thresholds: np.ndarray[Any, Any], record: Mapping[str, Any]) -> None:
    share = record["prevalence"]
    width = next(w for w in WIDTHS if w >= min(1.0, 4 * share))
    within = thresholds <= width
    axes.axhline(0, color=INK, linewidth=0.8)
    starts = [0.0, *thresholds[within]]  # at 0 acting on the model is acting on everyone
    axes.plot(starts, [share, *np.array(record["treat_all"])[within]], "--", color=COLOURS[1], linewidth=1.2)
    axes.plot(starts, [share, *np.array(record["net_benefit"])[within]], color=COLOURS[0])
    for point in record["at"]:
        found = point["net_benefit"]
        if found["low"] is not None and point["threshold"] <= width:
            at = [point["threshold"]] * 2
            axes.plot(at, [found["low"], found["high"]], color=COLOURS[0], linewidth=3.2, alpha=0.45)
    highs = [point["net_benefit"]["high"] or 0.0 for point in record["at"]]
    axes.set(xlim=(0, width), ylim=(-0.12 * share, max(1.05 * share, *highs)))
    axes.set_xticks([0, width / 2, width], ["0", f"{width / 2:g}", f"{width:g}"])
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _better(record: Mapping[str, Any]) -> str:
    at = [f"{point['threshold']:g}" for point in record["at"] if point["better"]]
    where = f"at {', '.join(at)}" if at else "at none of the thresholds looked at"
    return f"shown better than both others {where}. {100 * record['prevalence']:.1f} % of these scans have it."


def _panel(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.add_subplot(xlabel=x, ylabel=y)
