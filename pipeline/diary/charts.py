"""Charts of the diary over its nights, as inline SVG in the page's own colours."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.diary.record import Row
from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot

MOST_TICKS = 6
SMALLEST_P = 1e-12


def charts(rows: Sequence[Row]) -> list[Plot]:
    """Scores, shares, p-values, and calibration where there is any; each needs a night that has them."""
    with mpl.rc_context(STYLE):
        drawn = [_scores(rows), _shares(rows), _p_values(rows), _calibration(rows)]
    return [plot for plot in drawn if plot is not None]


def _scores(rows: Sequence[Row]) -> Plot | None:
    if not any(row.scores for row in rows):
        return None
    figure, axes = _over_nights(rows, "Anomaly score")
    axes.set_ylim(0, 1)
    values = {q: _column([(row.scores or {}).get(q) for row in rows]) for q in ("0.05", "0.25", "0.5", "0.75", "0.95")}
    x = np.arange(len(rows))
    axes.vlines(x, values["0.05"], values["0.95"], color=COLOURS[0], linewidth=0.8)
    axes.vlines(x, values["0.25"], values["0.75"], color=COLOURS[0], linewidth=3.2, alpha=0.5)
    axes.plot(x, values["0.5"], "o", color=COLOURS[0], markersize=3.5)
    caption = (
        "Anomaly scores of each night: median (dot), middle half (thick), 5 % to 95 % (thin). Nights of fewer than "
        "5 scans are left out."
    )
    return as_plot(figure, "scores", caption)


def _shares(rows: Sequence[Row]) -> Plot | None:
    figure, axes = _over_nights(rows, "Share of the night")
    x = np.arange(len(rows))
    top = 0.05
    for place, (name, marker) in enumerate((("abnormal", "o"), ("referred", "s"), ("refused", "^"))):
        shares = [row.shares.get(name, {}) for row in rows]
        value, low, high = (_column([share.get(end) for share in shares]) for end in ("value", "low", "high"))
        axes.plot(x, value, marker=marker, color=COLOURS[place], markersize=3.5, linewidth=0.9)
        axes.vlines(x, low, high, color=COLOURS[place], linewidth=0.8, alpha=0.6)
        top = max(top, float(np.nanmax(high, initial=0)))
    expected = _column([row.shares.get("abnormal", {}).get("expected") for row in rows])
    axes.plot(x, expected, "--", color=COLOURS[0], linewidth=0.9)
    axes.set_ylim(0, min(1.0, 1.05 * top))
    caption = (
        "Called abnormal (blue dots; dashed: the bundle's own reference scans), referred to a person (orange squares), "
        "refused (green triangles), with 95 % intervals."
    )
    return as_plot(figure, "shares", caption)


def _p_values(rows: Sequence[Row]) -> Plot | None:
    if all(row.p is None for row in rows):
        return None
    figure, axes = _over_nights(rows, "p of the night")
    x = np.arange(len(rows))
    p = np.maximum(_column([row.p for row in rows]), SMALLEST_P)
    alarm = np.array([row.alarm for row in rows])
    axes.set_yscale("log")
    axes.plot(x, _column([row.alpha or None for row in rows]), "-", color=COLOURS[1], linewidth=1.1)
    axes.plot(x[~alarm], p[~alarm], "o", color=COLOURS[0], markersize=3.5)
    axes.plot(x[alarm], p[alarm], "X", color=COLOURS[1], markersize=7)
    caption = (
        "p of the shift tests of each night. A cross on or below the line, which is what the night may spend, is an "
        "alarm; a dot above it is not, however small it looks among so many nights."
    )
    return as_plot(figure, "p", caption)


def _calibration(rows: Sequence[Row]) -> Plot | None:
    if not any(row.calibration.get("auroc") or row.calibration.get("ece") for row in rows):
        return None
    figure, axes = _over_nights(rows, "On labelled scans")
    axes.set_ylim(0, 1)
    for place, (name, marker) in enumerate((("auroc", "o"), ("ece", "s"), ("brier", "^"))):
        values = _column([row.calibration.get(name) for row in rows])
        axes.plot(np.arange(len(rows)), values, marker=marker, color=COLOURS[place], markersize=3.5, linewidth=0.9)
    caption = "Nights whose scans have labels by now: AUROC (blue dots), ECE (orange squares), Brier score (green)."
    return as_plot(figure, "calibration", caption)


def _over_nights(rows: Sequence[Row], label: str) -> tuple[Figure, Axes]:
    """An empty plot with nights along it; a line stands where another bundle begins."""
    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    axes = figure.add_subplot(ylabel=label)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    ticks = np.unique(np.linspace(0, len(rows) - 1, MOST_TICKS).round().astype(int))
    axes.set_xticks(ticks, [rows[tick].night for tick in ticks], fontsize=7)
    for place in range(1, len(rows)):
        if rows[place].bundle != rows[place - 1].bundle:
            axes.axvline(place - 0.5, color=INK, alpha=0.4, linewidth=0.8)
    return figure, axes


def _column(values: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], np.float64)
