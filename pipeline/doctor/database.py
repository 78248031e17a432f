"""The catalogue's database: can it be opened, are its tables those of this version, can it be written."""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from pipeline.doctor.finding import Level, Told, check, some
from pipeline.ingest.catalog_open import open_tables
from pipeline.ingest.catalog_server import reached, shown
from pipeline.ingest.catalog_tables import METADATA
from pipeline.registry.tables import REGISTRY
from pipeline.workspace import Workspace

TABLES = {**METADATA.tables, **REGISTRY.tables}


@check("database")
def check_database(space: Workspace | None) -> Told:
    """Open the catalogue, compare its tables with those of this version, and write and take back a table.

    Args:
        space: The workspace; without one, or before its first run, a database in a temporary folder is tried.
    """
    with _tried(space) as (url, new):
        engine = open_tables(url, sa.MetaData())
        try:
            missing, wrong = _compare(engine)
            _write_and_take_back(engine)
        finally:
            engine.dispose()
    if new:
        return Level.OK, "SQLite can be written" + ("; no catalogue yet" if space else "; name a workspace with -w")
    if wrong:
        return Level.BROKEN, f"{shown(url)}: {some(wrong)}; another version of ScanShift made it", tuple(wrong)
    words = f"{shown(url)}: {engine.dialect.name}, opened and written"
    if missing:
        return Level.OK, f"{words}; lacks {some(missing)} as yet, which the next run makes", tuple(missing)
    return Level.OK, f"{words}, {len(TABLES)} tables as expected"


@contextlib.contextmanager
def _tried(space: Workspace | None) -> Iterator[tuple[str, bool]]:
    """URL of the catalogue; where it would be an SQLite file that is not there yet, of one beside, for the moment."""
    url = space.catalog_url if space else Workspace(Path()).catalog_url
    file = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or (space and file.exists()):
        yield url, False
        return
    beside = file.parent if space and file.parent.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=beside) as folder:
        yield f"sqlite:///{Path(folder) / 'catalog.db'}", True


def _compare(engine: sa.Engine) -> tuple[list[str], list[str]]:
    """Tables that are missing, and columns that are."""
    with reached(engine, "could not be read"):
        look = sa.inspect(engine)
        there = set(look.get_table_names())
        columns = {name: {column["name"] for column in look.get_columns(name)} for name in there & set(TABLES)}
    missing = sorted(set(TABLES) - there)
    wrong = [
        f"{name} lacks {column.name}"
        for name in columns
        for column in TABLES[name].c
        if column.name not in columns[name]
    ]
    return missing, sorted(wrong)


def _write_and_take_back(engine: sa.Engine) -> None:
    name = f"doctor_{secrets.token_hex(6)}"
    with reached(engine, "could not be written"), engine.connect() as connection:
        connection.exec_driver_sql(f"create table {name} (n integer)")
        connection.exec_driver_sql(f"insert into {name} values (1)")
        connection.rollback()
