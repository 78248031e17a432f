"""The catalogue: idempotent, follows moves, holds no identity where it says so."""

import shutil
import sqlite3
import stat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import Reason, ScanError
from pipeline.ingest import scan_folder
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.facts import facts_from_json
from pipeline.ingest.scan_folder import scan_sources
from pipeline.scan import SeriesRef


@pytest.fixture
def folder(tmp_path, slices, write_all):
    """A folder with one series and one file of junk."""
    write_all(slices, tmp_path / "in" / "ct")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    return tmp_path / "in"


@pytest.fixture
def database(tmp_path):
    """Where the catalogue lies."""
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(database):
    """An empty catalogue."""
    made = Catalog(f"sqlite:///{database}")
    yield made
    made.close()


def dump(database):
    with sqlite3.connect(database) as connection:
        return {
            table: sorted(connection.execute(f"select * from {table}"))  # names of our own tables
            for table in ("series", "locator", "locator_file")
        }


def ingest(folder, catalog):
    refs = scan_sources([folder], catalog=catalog)
    catalog.record(refs)
    return refs


def test_second_ingest_changes_nothing_and_opens_nothing(folder, catalog, database, monkeypatch):
    first, before = ingest(folder, catalog), dump(database)
    monkeypatch.setattr(scan_folder, "examine", lambda found: pytest.fail(f"{found.source} was opened again"))
    assert ingest(folder, catalog) == first
    assert dump(database) == before
    assert catalog.counts() == {"ok": 1, "ignored": 1}


def test_changed_file_is_read_again(folder, catalog):
    ingest(folder, catalog)
    (folder / "ct" / "8_4.dcm").write_bytes(b"")
    refs = ingest(folder, catalog)
    assert [ref.reason.partition(":")[0] for ref in refs] == ["MISSING_SLICE", "EMPTY_FILE", "NOT_AN_IMAGE"]


def test_moved_series_keeps_its_id(folder, catalog, database):
    ingest(folder, catalog)
    before = dump(database)["series"]
    shutil.move(folder / "ct", folder / "moved")
    ingest(folder, catalog)
    assert dump(database)["series"] == before
    assert "moved" in {row[1] for row in dump(database)["locator"]}


def test_second_copy_is_ignored(folder, catalog):
    shutil.copytree(folder / "ct", folder / "copy")
    refs = ingest(folder, catalog)
    assert [ref.source for ref in refs if ref.status == "ok"] == ["copy"]
    assert sum(ref.reason.startswith("DUPLICATE_FILE: ") for ref in refs) == 10
    assert ingest(folder, catalog) == refs
    assert catalog.counts() == {"ok": 1, "ignored": 11}


def test_series_that_grew_replaces_the_shorter(tmp_path, slices, write, catalog):
    for k in range(9):
        write(slices.dataset(k), tmp_path / "in" / f"{k}.dcm")
    ingest(tmp_path / "in", catalog)
    write(slices.dataset(9), tmp_path / "in" / "9.dcm")
    (ref,) = ingest(tmp_path / "in", catalog)
    assert ref.images == 10
    assert catalog.counts() == {"ok": 1}


def test_identity_lies_only_where_it_may(folder, catalog, database):
    ingest(folder, catalog)
    tables = dump(database)
    assert "SECRET-PATIENT" in str(tables["locator"])
    assert "SECRET" not in str(tables["series"])
    assert "1.2.3.4" not in str(tables["series"])
    assert str(folder) not in str(tables["series"])


def test_database_is_private_and_in_wal_mode(catalog, database):
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    with sqlite3.connect(database) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_facts_survive_json(folder, catalog):
    scan_sources([folder], catalog=catalog)
    path = str(folder / "ct" / "0_0.dcm")
    facts = catalog.known([path])[path]
    assert facts.frames
    assert facts_from_json(facts.to_json()) == facts
    assert facts.frames[0].position == (-100.0, -90.0, 40.0)


def _ingest_elsewhere(url, folder):
    catalog = Catalog(url)
    for _ in range(5):
        catalog.record(scan_sources([folder], catalog=catalog))
    catalog.close()


def test_two_processes_share_it(folder, catalog, database):
    context = get_context("fork")
    workers = [context.Process(target=_ingest_elsewhere, args=(f"sqlite:///{database}", folder)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert catalog.counts() == {"ok": 1, "ignored": 1}


def test_find_gives_back_the_series_that_was_recorded(tmp_path: Path) -> None:
    ref = SeriesRef(
        source="a/b",
        series_uid="1.2.3",
        status="ok",
        format="dicom",
        modality="CT",
        files=(str(tmp_path / "1.dcm"), str(tmp_path / "2.dcm")),
        images=2,
        content="c" * 64,
        patient="P1",
        shape=(4, 5, 2),
        geometry="patient",
    )
    lost = SeriesRef(source="x", series_uid="1.2.4", status="refused", reason="NO_POSITION: none", content="d" * 64)
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    catalog.record([ref, lost])
    assert catalog.find(["1.2.3", "1.2.4", "9"]) == [ref]
    assert [found.series_uid for found in catalog.refused()] == ["1.2.4"]
    catalog.close()


def test_file_whose_decoder_was_killed_is_tried_again(tmp_path: Path, catalog: Catalog, monkeypatch) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(picture)

    def killed(*_: object) -> None:
        raise ScanError(Reason.DECODE_KILLED, "the decoder crashed")

    with monkeypatch.context() as patch:
        patch.setattr(DecodePool, "decode", killed)
        (ref,) = scan_sources([picture], catalog=catalog)
        assert ref.reason.startswith("DECODE_KILLED")
    (ref,) = scan_sources([picture], catalog=catalog)
    assert (ref.status, ref.reason) == ("ok", "")


def test_table_of_an_older_version_gets_the_indexes_it_lacks(database: Path) -> None:
    def indexes() -> set[str]:
        with sqlite3.connect(database) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}

    Catalog(f"sqlite:///{database}").close()
    whole = indexes()
    with sqlite3.connect(database) as connection:
        connection.execute("DROP INDEX ix_series_status")
        connection.execute("DROP INDEX ix_locator_series_uid")
    Catalog(f"sqlite:///{database}").close()
    assert indexes() == whole
