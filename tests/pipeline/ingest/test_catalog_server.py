"""The catalogue on a real PostgreSQL: a server of our own in a temporary folder, reached by a Unix socket alone."""

from multiprocessing import get_context

import pytest
import sqlalchemy as sa

from pipeline.errors import CatalogError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.catalog_server import open_engine, shown, storable
from pipeline.ingest.intake import take_in
from pipeline.ingest.scan_folder import scan_sources
from pipeline.scan import SeriesRef
from pipeline.watch import Watch
from pipeline.workspace import Workspace


@pytest.fixture
def url(postgres_url):
    """URL of an empty database."""
    return postgres_url


@pytest.fixture
def catalog(url):
    """An empty catalogue."""
    made = Catalog(url)
    yield made
    made.close()


def rows(url, table):
    engine = open_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(f"select * from {table} order by 1"))]
    engine.dispose()
    return found


def series(number, *, count=1, start="/in"):
    files = tuple(f"{start}/{number}/{k}.dcm" for k in range(count))
    return SeriesRef(
        source=str(number),
        series_uid=f"1.2.{number}",
        status="ok",
        format="dicom",
        modality="CT",
        files=files,
        images=count,
        content=f"{number:064x}",
        patient=f"P{number}",
        shape=(4, 5, count),
        geometry="patient",
    )


def test_what_is_recorded_is_found(catalog):
    lost = SeriesRef(source="x", series_uid="1.9", status="refused", reason="NO_POSITION: none", content="d" * 64)
    catalog.record([series(1), series(2), lost])
    assert catalog.find(["1.2.2", "1.2.1", "1.9"]) == [series(1), series(2)]
    assert [ref.series_uid for ref in catalog.refused()] == ["1.9"]
    assert catalog.counts() == {"ok": 2, "refused": 1}


def test_a_second_record_changes_nothing_and_a_longer_series_replaces(catalog, url):
    catalog.record([series(1), series(2, count=2)])
    before = rows(url, "series"), rows(url, "locator")
    catalog.record([series(1), series(2, count=2)])
    assert (rows(url, "series"), rows(url, "locator")) == before
    grown = SeriesRef(
        **{**{name: getattr(series(2, count=3), name) for name in SeriesRef.__slots__}, "content": "e" * 64}
    )
    catalog.record([series(1), grown])
    assert catalog.find(["1.2.2"]) == [grown]
    assert catalog.counts() == {"ok": 2}


def test_ingest_twice_on_a_server_opens_nothing_again(url, tmp_path, slices, write_all, capsys, monkeypatch):
    write_all(slices, tmp_path / "in" / "ct")
    catalog = Catalog(url)
    first = scan_sources([tmp_path / "in"], catalog=catalog)
    catalog.record(first)
    monkeypatch.setattr("pipeline.ingest.scan_folder.examine", lambda found: pytest.fail("opened again"))
    assert scan_sources([tmp_path / "in"], catalog=catalog) == first
    assert len(rows(url, "locator_file")) == 10
    catalog.close()


@pytest.mark.parametrize("text", ["a\0b", "a\udc80b"])
def test_headers_that_no_server_stores_are_stored_escaped(catalog, text):
    ref = SeriesRef(source="x", series_uid=text, status="ok", content="a" * 64, patient=text, files=("/a",))
    catalog.record([ref])
    assert [found.patient for found in catalog.find([text])] == [storable(text)]
    assert "\0" not in storable(text)


def _record_many(url, first, barrier):
    catalog = Catalog(url)
    barrier.wait(60)
    for _ in range(4):
        for start in (0, 100):  # the same 100 series in both processes, and 100 of its own
            numbers = range(100) if start == 0 else range(first, first + 100)
            order = numbers if first < 2000 else reversed(numbers)
            catalog.record([series(number) for number in order])
    catalog.close()


def test_two_processes_lose_nothing_and_write_nothing_twice(url):
    context = get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_record_many, args=(url, first, barrier)) for first in (1000, 2000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    uids = sorted(row[2] for row in rows(url, "locator"))
    assert uids == sorted(f"1.2.{n}" for n in [*range(100), *range(1000, 1100), *range(2000, 2100)])
    assert len(rows(url, "series")) == 300


def _ingest(url, folder, barrier):
    catalog = Catalog(url)
    barrier.wait(60)
    for _ in range(5):
        catalog.record(scan_sources([folder], catalog=catalog))
    catalog.close()


def test_two_ingests_of_one_folder_at_once(url, tmp_path, slices, write_all):
    write_all(slices, tmp_path / "in" / "ct")
    context = get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_ingest, args=(url, tmp_path / "in", barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(rows(url, "series")) == 1
    assert len(rows(url, "locator_file")) == 10


def test_two_processes_may_make_the_tables_at_once(url):
    context = get_context("fork")
    workers = [context.Process(target=Catalog, args=(url,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]


@pytest.mark.parametrize("by", ["option", "environment"])
def test_ingest_writes_to_the_server_and_keeps_no_file(url, by, tmp_path, slices, write_all, monkeypatch):
    write_all(slices, tmp_path / "in" / "ct")
    space = Workspace(tmp_path / "w", url if by == "option" else "").open()
    if by == "environment":
        monkeypatch.setenv("SCANSHIFT_CATALOG", url)
    told = take_in([str(tmp_path / "in")], space, Watch())
    assert told["counts"] == {"ok": 1}
    assert told["catalog"] == shown(url)
    assert len(rows(url, "locator_file")) == 10
    assert not (tmp_path / "w" / "catalog.db").exists()


def test_a_connection_cut_in_the_middle_is_told_in_a_line_without_identity(catalog, url, monkeypatch):
    def cut(connection, _rows):
        number = connection.scalar(sa.text("select pg_backend_pid()"))
        engine = open_engine(url)
        with engine.begin() as other:
            other.execute(sa.text(f"select pg_terminate_backend({number})"))
        engine.dispose()

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.ingest.catalog._drop_superseded", cut)
        with pytest.raises(CatalogError, match="the catalogue could not be written") as told:
            catalog.record([series(1)])
    assert not [word for word in ("P1", "/in/1", "1.2.1") if word in f"{told.value} {told.value.__cause__}"]
    assert catalog.counts() == {}
    catalog.record([series(1)])
    assert catalog.counts() == {"ok": 1}
