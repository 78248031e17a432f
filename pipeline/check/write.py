"""The files of a check: a page and a record without identity, and the table that says what each number is."""

import dataclasses
from pathlib import Path

from pipeline.check.as_json import check_record
from pipeline.check.page import render
from pipeline.check.records import Check
from pipeline.check.row import SeriesCheck
from pipeline.ingest.series_csv import Row, row_of, write_numbered_csv
from pipeline.workspace import whole_file, write_json

FILES = ("check.html", "check.json", "series.csv")


def write_check(check: Check, out: Path) -> None:
    """Write `check.html`, `check.json` and `series.csv` (mode 0600) into a folder, which is made."""
    page, record, table = (out / name for name in FILES)
    with whole_file(page) as file:
        file.write(render(check))
    write_json(record, check_record(check))
    write_numbered_csv(table, map(_line, check.rows))


def _line(row: SeriesCheck) -> Row:
    return dataclasses.replace(row_of(row.ref), inverted=row.measured is not None and row.measured.inverted)
