"""The drift diary's last nights as Markdown for Prefect's UI."""

from collections.abc import Sequence

from pipeline.diary.page import p_small
from pipeline.diary.record import Row

BARS = "▁▂▃▄▅▆▇█"


def drift_chart(rows: Sequence[Row]) -> str:
    """A line of bars of the median score, and a table of the nights: dates and figures, no path and no identity."""
    medians = [(row.scores or {}).get("0.5") for row in rows]
    bars = "".join(" " if median is None else BARS[min(7, int(8 * median))] for median in medians)
    lines = ["# Drift diary", "", f"Median anomaly score, 0 to 1: `{bars}`", ""]
    lines += ["| night | scored | called abnormal | refused | p | may spend | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = [row.night, str(row.counts.get("scored", 0)), _share(row, "abnormal"), _share(row, "refused")]
        cells += [p_small(row.p), p_small(row.alpha or None), "**drift**" if row.alarm else ""]
        lines.append(f"| {' | '.join(cells)} |")
    if rows and rows[-1].proposals:
        lines += ["", "Proposed:", "", *(f"- {line}" for line in rows[-1].proposals)]
    return "\n".join(lines)


def _share(row: Row, name: str) -> str:
    value = row.shares.get(name, {}).get("value")
    return "–" if value is None else f"{value:.0%}"
