"""The truth set as a table of docs/explanation/reading.md; `python -m tests.pipeline.ingest.truth.table` writes it."""

import itertools
import tempfile
from collections import Counter
from pathlib import Path

from tests.pipeline.ingest.truth.case import CASES, Case, Expected, load_all

PAGE = Path(__file__).resolve().parents[4] / "docs" / "explanation" / "reading.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def table() -> str:
    """One line for each rule, with its number of cases and what becomes of them."""
    load_all()
    expected = [(case, _expected(case)) for case in CASES]
    read = sum(bool(outcome.volumes) for _, outcome in expected)
    proven = sum(bool(outcome.proof) for _, outcome in expected)
    lines = [
        f"{len(CASES)} cases: {read} are read, {len(CASES) - read} refused; {proven} are proven by a second reader.\n",
        "| family | rule | cases | outcome | second readers |",
        "|---|---|---|---|---|",
    ]
    for (family, says), members in itertools.groupby(expected, key=lambda pair: (pair[0].family, pair[0].says)):
        outcomes = [outcome for _, outcome in members]
        codes = Counter(_told(outcome) for outcome in outcomes)
        told = "; ".join(text if count == len(outcomes) else f"{count} {text}" for text, count in codes.items())
        readers = ", ".join(sorted({reader for outcome in outcomes for reader in outcome.proof}))
        lines.append(f"| {family} | {says} | {len(outcomes)} | {told} | {readers} |")
    return "\n".join(lines) + "\n"


def in_page(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def _expected(case: Case) -> Expected:
    with tempfile.TemporaryDirectory() as folder:
        return case.write(Path(folder))


def _told(outcome: Expected) -> str:
    volumes = len(outcome.volumes)
    parts = ["read" if volumes == 1 else f"read as {volumes} volumes"] if volumes else []
    for word, codes in (("refused", outcome.refused), ("ignored", outcome.ignored)):
        if codes:
            parts.append(f"{word} " + ", ".join(f"`{code}`" for code in codes))
    return ", ".join(parts)


if __name__ == "__main__":
    PAGE.write_text(in_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
