"""Ingest on a full or damaged disk: one error that says what, never a traceback of a database library."""

import contextlib
import sqlite3

import pytest

from pipeline.errors import CatalogError, DiskSpaceError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.spool import Spool


def test_temporary_files_without_room_are_told(samples, monkeypatch):
    def add(_self, _file):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "add", add)
    with pytest.raises(DiskSpaceError, match="temporary files cannot be written"):
        scan_sources([samples / "incoming"])


def test_a_catalogue_without_room_says_that_the_disk_is_full(samples, tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    with catalog._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.commit()
    with pytest.raises(CatalogError, match="could not be written; the disk is full"):
        scan_sources([samples / "incoming"], catalog=catalog)
    catalog.close()


def test_a_damaged_catalogue_is_told(samples, tmp_path):
    path = tmp_path / "catalog.db"
    catalog = Catalog(f"sqlite:///{path}")
    scan_sources([samples / "incoming"], catalog=catalog)
    catalog.close()
    for file in tmp_path.glob("catalog.db-*"):
        file.unlink()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    def listed():
        with contextlib.closing(Catalog(f"sqlite:///{path}")) as again:
            scan_sources([samples / "incoming"], catalog=again)

    with pytest.raises(CatalogError):
        listed()
