"""A check as one self-contained HTML page: no scripts, nothing fetched, nothing in it that names a patient."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

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
    pages = Environment(
        loader=ChoiceLoader([PackageLoader("pipeline.check"), PackageLoader("pipeline.evaluate")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    series = [row for row in check.rows if row.belongs]
    return pages.get_template("check.html").render(
        check=check,
        verdict=_verdict(check),
        headline=summary(check),
        details=[line for line in (overlap_words(check), timing_words(check), *codec_lines(check)) if line],
        reasons=reasons(check.rows),
        series=_chosen(series),
        hidden=max(0, len(series) - MOST_SERIES),
        opened=[row.number for row in series if row.ref.status == "refused" or len(series) <= 3][:MOST_OPEN],
        **WORDS,
    )


def _verdict(check: Check) -> tuple[str, str]:
    """How the page's first box looks, and the words above it."""
    found = counts(check)
    if not found["ok"]:
        return "against", "✕ Nothing can be used"
    if found["refused"] or any(row.trained_on for row in check.rows):
        return "unclear", "? Look at what is refused" if found["refused"] else "? Some were in training"
    return "shown", "✓ All can be used"


def _chosen(series: list[SeriesCheck]) -> list[SeriesCheck]:
    refused_first = sorted(series, key=lambda row: (row.ref.status != "refused", row.number))
    return sorted(refused_first[:MOST_SERIES], key=lambda row: row.number)
