"""`compare`: two folders in, one page and one record out, both without identity."""

from pathlib import Path
from typing import Any

from pipeline.evaluate.compare.match import Pair, match
from pipeline.evaluate.compare.measure import measure_pair
from pipeline.evaluate.compare.page import render
from pipeline.evaluate.compare.read import read_validated
from pipeline.evaluate.compare.wording import class_line, comparison_verdict, signed
from pipeline.provenance import versions
from pipeline.workspace import whole_file, write_json

FORMAT = 1
PAGE, RECORD = "compare.html", "compare.json"


def compare(first: Path, second: Path, out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Compare two models on the scans that both were validated on, and write `compare.html` and `compare.json`.

    Args:
        first, second: Folders that `validate` wrote, A and B.
        out: Folder to write into; made.
        seed: Seed of the resamples.

    Returns:
        The record, with the paths of both files and the lines that tell the result, the verdict last.

    Raises:
        SourceError: If a folder is not a validation's.
        RefusedError: If the two cannot be paired.
    """
    pair = match(read_validated(first, "A"), read_validated(second, "B"))
    measured = measure_pair(pair, seed=seed)
    record: dict[str, Any] = {
        "format": FORMAT,
        "verdict": comparison_verdict(measured).headline,
        "sides": {v.name.lower(): {"bundle": v.bundle or None, "scans": v.n} for v in (pair.a, pair.b)},
        **measured,
        "notes": _notes(pair),
        "versions": versions(),
    }
    page = render(pair, record)
    write_json(out / RECORD, record)
    with whole_file(out / PAGE) as file:
        file.write(page)
    paths = {"page": str(out / PAGE), "record": str(out / RECORD)}
    return {**record, **paths, "lines": [*_lines(record), f"page: {out / PAGE}", record["verdict"]]}


def _notes(pair: Pair) -> list[str]:
    notes = []
    gone = {side.name: side.n - pair.first.n for side in (pair.a, pair.b) if side.n > pair.first.n}
    if gone:
        told = " and ".join(f"{count} scans of {name}" for name, count in gone.items())
        notes.append(f"{told} are not in the other, and were left out")
    if pair.a.bundle and pair.a.bundle == pair.b.bundle:
        notes.append("A and B are validations of one bundle")
    return notes


def _lines(record: dict[str, Any]) -> list[str]:
    lines = [f"note: {note}" for note in record["notes"]]
    lines += [class_line(name, of["auroc"]) for name, of in record["classes"].items()]
    accuracy = record["accuracy"]
    told = ["–" if accuracy[side]["value"] is None else f"{accuracy[side]['value']:.3f}" for side in "ab"]
    return [*lines, f"accuracy: A {told[0]}, B {told[1]}, B - A {signed(accuracy['difference'])}"]
