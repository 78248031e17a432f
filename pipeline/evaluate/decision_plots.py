"""The plot of risk against coverage, and what the page says of decisions."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.evaluate.detection_wording import PROMISES, percent
from pipeline.evaluate.plots import COLOURS, INK, STYLE, Plot, as_plot


def decision_page(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the template `decisions.html`."""
    curve = metrics.get("risk_coverage", {}).get("curve")
    return {"risk_plot": risk_plot(metrics["risk_coverage"]) if curve else None, "kept_words": PROMISES, "pct": percent}


def risk_plot(record: Mapping[str, Any]) -> Plot:
    """Error among the surest scans, from few of them to all, beside the error of all.

    Args:
        record: `risk_coverage` of metrics.json.
    """
    points = record["curve"]
    coverage, risk = [p["coverage"] for p in points], [p["risk"] for p in points]
    dot = record["not_referred"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.3, 3.2), layout="constrained")
        axes = figure.add_subplot(xlabel="Share of scans kept, surest first", ylabel="Error among them", xlim=(0, 1))
        axes.axhline(record["error"]["value"], color=INK, alpha=0.4, linewidth=0.8)
        axes.plot(coverage, risk, color=COLOURS[0], drawstyle="steps-mid" if len(points) < 20 else "default")
        if dot["risk"] is not None:
            axes.plot(dot["coverage"], dot["risk"], "o", color=COLOURS[1], markersize=6, clip_on=False)
        axes.set_ylim(0, 1.08 * max(*risk, record["error"]["value"], dot["risk"] or 0, 0.01))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        caption = (
            "Risk and coverage (blue): error among the scans kept, if the least sure ones are left to a person. Thin "
            "line: error of all scans, as where sureness says nothing. Orange dot: the scans that are not referred."
        )
        return as_plot(figure, "risk", caption)
