"""Opening the catalogue's database: SQLite as several processes can share it, and tables that are not there yet."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.ingest.catalog_server import open_engine, writing
from pipeline.workspace import PRIVATE

BUSY_SECONDS = 60


def open_tables(url: str, tables: sa.MetaData) -> sa.Engine:
    """The engine of a catalogue that has these tables: those that an older version did not know are made.

    Args:
        url: SQLAlchemy URL. An SQLite file is made with mode 0600, in WAL mode.
        tables: The tables.

    Raises:
        CatalogError: If the database cannot be reached.
    """
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        _make_private(engine.url.database)
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    with writing(engine, "cannot be opened") as connection:
        tables.create_all(connection)
        for table in tables.sorted_tables:
            for index in table.indexes:  # tables that an older version made may lack some
                index.create(connection, checkfirst=True)
    return engine


def _make_private(database: str | None) -> None:
    """Make an SQLite file before SQLite does, so that it never has another mode; its side files inherit it."""
    if not database or database == ":memory:":
        return
    path = Path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE))
    path.chmod(PRIVATE)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN, below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Switch to WAL; SQLite does not wait for the lock that the first switch needs."""
    for _ in range(BUSY_SECONDS * 20):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(0.05)


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at once: a transaction that reads first could not wait for it later."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
