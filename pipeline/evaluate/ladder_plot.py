"""The rungs of a ladder side by side, each with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot


def rung_intervals(rows: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Values and 95 % intervals of the rungs that were tried, from the first on top; None where none has a number."""
    tried = [row for row in rows if row["value"] is not None]
    if not tried:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.6 + 0.34 * len(tried)), layout="constrained")
        axes = figure.add_subplot(xlabel=_axis(tried[0]["measure"]))
        for place, row in enumerate(tried):
            colour = COLOURS[0] if row["kept"] else COLOURS[1]
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, alpha=0.55)
            axes.plot(row["value"], place, "o" if row["kept"] else "s", color=colour, markersize=6)
            if row["held"] is not None:
                axes.plot(row["held"], place, "|", color=INK, markersize=11, markeredgewidth=1.4)
        if tried[0]["measure"] == "AUROC":
            axes.axvline(0.5, color=INK, alpha=0.4, linewidth=0.8)
        axes.set_yticks(range(len(tried)), [row["name"] for row in tried])
        axes.invert_yaxis()
        mark = " Upright mark: the same on held source scans." if any(row["held"] is not None for row in tried) else ""
        return as_plot(figure, "rungs", f"Rungs with 95 % intervals; blue dots were kept, orange squares not.{mark}")


def _axis(measure: str) -> str:
    return "AUROC on held-out target labels" if measure == "AUROC" else "Agreement of heads on the target's scans"
