"""A check as lines for the terminal."""

from pipeline.check.as_json import counts, reasons
from pipeline.check.records import Check
from pipeline.check.remedies import remedy
from pipeline.check.row import SeriesCheck
from pipeline.check.shown import shown_reason
from pipeline.check.wording import (
    chain_lines,
    geometry_lines,
    grouping_lines,
    overlap_words,
    timing_words,
    title,
    training_line,
)

MOST_NUMBERS = 12


def text_lines(check: Check, *, names: bool = False) -> list[str]:
    """The check, series by series, and its summary last.

    Args:
        check: What was found.
        names: Whether to say the source and UID of each number: only for the user's own eyes.
    """
    lines: list[str] = []
    for row in check.rows:
        if row.belongs or row.ref.status == "refused" or names:
            lines += _row_lines(row, names)
    for code, found in reasons(check.rows).items():
        many = ", ".join(f"{found[status]} {status}" for status in ("refused", "ignored") if found[status])
        lines.append(f"{code}: {many} ({numbers(found['numbers'])}). What would be right: {found['right']}")
    lines += codec_lines(check)
    lines += [line for line in (overlap_words(check), timing_words(check)) if line]
    return [*lines, summary(check)]


def summary(check: Check) -> str:
    """The counts in one line."""
    found = counts(check)
    verb = "would be scored" if check.bundle else "can be read"
    return f"{found['ok']} series {verb}, {found['refused']} refused, {found['ignored']} ignored"


def codec_lines(check: Check) -> list[str]:
    """Transfer syntaxes that cannot be decoded here, and decoders that do not work."""
    missing = [f"{s.name} ({s.files} files)" for s in check.syntaxes if not s.readable]
    broken = [decoder.package for decoder in check.decoders if not decoder.works]
    lines = [f"missing codecs: {', '.join(missing) or 'none'}"]
    return [*lines, f"decoders that cannot be imported here: {', '.join(broken)}"] if broken else lines


def numbers(found: list[int]) -> str:
    """Numbers of rows, the first few of many."""
    listed = ", ".join(f"#{number}" for number in found[:MOST_NUMBERS])
    return listed + (f" and {len(found) - MOST_NUMBERS} more" if len(found) > MOST_NUMBERS else "")


def _row_lines(row: SeriesCheck, names: bool) -> list[str]:
    what = title(row) if row.belongs else "file or link of no series"
    lines = [f"#{row.number} {row.ref.status}: {what}"]
    if names:
        lines.append(f"    source: {_printable(row.ref.source)}")
        if row.belongs:
            lines.append(f"    series_uid: {_printable(row.ref.series_uid)}")
    if row.ref.reason:
        lines.append(f"    why: {shown_reason(row.ref)}")
        lines.append(f"    right: {remedy(row.ref.reason)}")
    if row.belongs:
        told = [*grouping_lines(row), *geometry_lines(row), *chain_lines(row), *training_line(row)]
        lines += [f"    {name}: {words}" for name, words in told]
    return lines


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
