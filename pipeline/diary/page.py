"""The diary as one self-contained HTML page: no scripts, nothing fetched, nothing in it that names a patient."""

from collections.abc import Sequence

from pipeline.diary.charts import SMALLEST_P, charts
from pipeline.diary.record import Row
from pipeline.diary.spending import ALPHA, LOOKS
from pipeline.evaluate.pages import pages
from pipeline.evaluate.wording import Verdict
from pipeline.shift.wording import KIND_WORDS, p_words

SHOWN = 366


def render(rows: Sequence[Row]) -> str:
    """The page as text; the same rows give the same bytes. Of many rows the last 366 are drawn.

    Args:
        rows: At least one, by night.
    """
    shown = rows[-SHOWN:]
    return (
        pages("pipeline.diary")
        .get_template("diary.html")
        .render(
            rows=shown[::-1],
            last=shown[-1],
            total=len(rows),
            verdict=verdict(shown[-1]),
            plots=charts(shown),
            kinds=KIND_WORDS,
            p_words=p_small,
            alpha=ALPHA,
            looks=LOOKS,
        )
    )


def p_small(value: float | None) -> str:
    """A p-value with three decimals, or with its power of ten."""
    if value is None:
        return "–"
    if value < SMALLEST_P:
        return f"< {SMALLEST_P:.0e}"
    return p_words(value) if value >= 0.001 else f"{value:.1e}"


def verdict(row: Row) -> Verdict:
    """What the last night says, and what is proposed."""
    new = sum(row.counts.values())
    told = ", ".join(f"{n} {status}" for status, n in row.counts.items())
    night = f"Night of {row.night}: {new} new series ({told})."
    proposed = tuple(line.replace("`", '"') for line in row.proposals)
    if row.alarm:
        sentence = row.shift.get("sentence") or "An earlier look at this night raised an alarm."
        return Verdict("against", f"{night} {sentence}", proposed, "✕ Drift")
    if row.p is None:
        return Verdict("unclear", f"{night} Drift was not tested.", proposed, "? Not tested")
    headline = f"{night} No drift beyond what looking every night brings (p {p_small(row.p)})."
    return Verdict("shown", headline, proposed, "✓ No alarm")
