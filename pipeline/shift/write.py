"""The files of a comparison: one page and one record, both without identity, and the lines that tell of them."""

from pathlib import Path
from typing import Any

from pipeline.evaluate.wording import say
from pipeline.shift.compare import Comparison
from pipeline.shift.page import render
from pipeline.shift.wording import accuracy_sentence, shift_verdict
from pipeline.workspace import whole_file, write_json

FORMAT = 1
PAGE, RECORD = "shift.html", "shift.json"


def shift_record(compared: Comparison) -> dict[str, Any]:
    """The content of shift.json; the same comparison gives the same record."""
    verdict = shift_verdict(compared.measured)
    return {"format": FORMAT, "verdict": verdict.headline, **compared.measured, **compared.ran}


def write_shift(compared: Comparison, out: Path) -> dict[str, Any]:
    """Write `shift.html` and `shift.json` into a folder, which is made.

    Returns:
        The record, with the paths of both files and the lines that tell the result, the verdict last.
    """
    record, page = shift_record(compared), render(compared)
    write_json(out / RECORD, record)
    with whole_file(out / PAGE) as file:
        file.write(page)
    paths = {"page": str(out / PAGE), "record": str(out / RECORD)}
    return {**record, **paths, "lines": [*_lines(compared), f"page: {out / PAGE}", record["verdict"]]}


def _lines(compared: Comparison) -> list[str]:
    lines = [f"note: {note}" for note in compared.ran["notes"]]
    for name, side in compared.ran["sides"].items():
        gone = ", ".join(f"{count} {code}" for code, count in side["left_out"].items())
        counted = f"{side['used']} scans of {side['patients']} patients, {side['labelled']} labelled"
        lines.append(f"{name}: {counted}" + (f"; left out: {gone}" if gone else ""))
    sizes = compared.measured["sizes"]
    band = sizes["c2st_auc"]["null"]
    chance = f"; by chance {band['low']:.2f} to {band['high']:.2f}" if band["low"] is not None else ""
    lines.append(f"told apart: AUROC {say(sizes['c2st_auc'], 2)}{chance}")
    lines.append(accuracy_sentence(compared.measured))
    for need in compared.measured["labels_needed"]:
        if need["labels"] is not None:
            lines.append(f"labels to bring: {need['labels']} ({need['reason']})")
    return lines
