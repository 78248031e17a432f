"""A check as one self-contained HTML page: no scripts, nothing fetched, nothing in it that names a patient."""

from pipeline.check.as_json import counts, reasons
from pipeline.check.as_text import codec_lines, numbers, summary
from pipeline.check.records import Check
from pipeline.check.remedies import remedy
from pipeline.check.row import SeriesCheck
from pipeline.check.shown import shown_code, shown_reason
from pipeline.check.slice_strip import slice_strip
from pipeline.check.wording import (
    chain_lines,
    geometry_lines,
    grouping_lines,
    note,
    overlap_words,
    timing_words,
    title,
    training_line,
)
from pipeline.evaluate.pages import pages
from pipeline.evaluate.wording import Verdict

MOST_SERIES = 1000
MOST_OPEN = 5  # details that are open from the start: of the first refused series
WORDS = {
    "chain_lines": chain_lines,
    "geometry_lines": geometry_lines,
    "grouping_lines": grouping_lines,
    "note": note,
    "numbers": numbers,
    "remedy": remedy,
    "shown_code": shown_code,
    "shown_reason": shown_reason,
    "slice_strip": slice_strip,
    "title": title,
    "training_line": training_line,
}


def render(check: Check) -> str:
    """The page as text.

    Of more than 1000 series, it shows the refused ones first and then as many of the others; check.json has all.
    """
    series = [row for row in check.rows if row.belongs]
    template = pages("pipeline.check").get_template("check.html")
    return template.render(
        check=check,
        verdict=_verdict(check),
        reasons=reasons(check.rows),
        series=_chosen(series),
        hidden=max(0, len(series) - MOST_SERIES),
        opened=[row.number for row in series if row.ref.status == "refused" or len(series) <= 3][:MOST_OPEN],
        **WORDS,
    )


def _verdict(check: Check) -> Verdict:
    """The page's first box."""
    found, headline = counts(check), summary(check)
    details = tuple(line for line in (overlap_words(check), timing_words(check), *codec_lines(check)) if line)
    if not found["ok"]:
        return Verdict("against", headline, details, "✕ Nothing can be used")
    if found["refused"] or any(row.trained_on for row in check.rows):
        badge = "? Look at what is refused" if found["refused"] else "? Some were in training"
        return Verdict("unclear", headline, details, badge)
    return Verdict("shown", headline, details, "✓ All can be used")


def _chosen(series: list[SeriesCheck]) -> list[SeriesCheck]:
    refused_first = sorted(series, key=lambda row: (row.ref.status != "refused", row.number))
    return sorted(refused_first[:MOST_SERIES], key=lambda row: row.number)
