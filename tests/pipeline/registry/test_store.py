"""The registry in its database, by itself."""

import contextlib
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.errors import RefusedError, RegistryError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.catalog_open import open_tables
from pipeline.ingest.catalog_tables import METADATA
from pipeline.registry.records import State
from pipeline.registry.store import Registry, newest
from pipeline.scan import SeriesRef


def happened(registry, digest):
    return [(event.event, event.slot, event.who, event.note) for event in registry.events(digest)]


def test_a_bundle_is_kept_as_it_is_and_once(registry, new_model):
    made = new_model("a", parent="b" * 64, folder=Path("/models/caf\udce9"))
    assert registry.add(made, who="adapt")
    assert not registry.add(replace(made, backbone="other"), who="adapt")
    assert registry.models() == [made]
    assert made.state == State.CANDIDATE
    assert happened(registry, made.digest) == [("added", "", "adapt", "")]


def test_measured_lines_are_kept_in_order_and_the_last_validation_stands_for_the_bundle(registry, new_model, validated):
    registry.add(new_model("a"), who="adapt")
    lines = [validated, replace(validated, auroc=None, low=None, high=None), replace(validated, verb="adapt")]
    for line in lines:
        registry.measure("a" * 64, line)
    assert registry.measurements("a" * 64) == lines
    assert newest(lines) == lines[1]
    assert newest(lines[2:]) == lines[2]
    assert newest([]) is None


def test_promoting_retires_the_earlier_one_and_keeps_its_history(registry, new_model, validated):
    for letter in "ab":
        registry.add(new_model(letter), who="adapt")
        registry.measure(letter * 64, validated)
    assert registry.promote("a" * 64, "default", who="Dr. A", note="first") == ""
    assert registry.promote("b" * 64, "default", who="Dr. B") == "a" * 64
    assert registry.approved("default").digest == "b" * 64
    assert [found.state for found in registry.models()] == [State.RETIRED, State.APPROVED]
    assert happened(registry, "a" * 64)[1:] == [
        ("promoted", "default", "Dr. A", "first"),
        ("retired", "default", "Dr. B", "bbbbbbbbbbbb was promoted"),
    ]


def test_a_bundle_with_another_slot_stays_approved_for_that(registry, new_model, validated):
    for letter in "ab":
        registry.add(new_model(letter), who="adapt")
        registry.measure(letter * 64, validated)
    registry.promote("a" * 64, "chest", who="A")
    registry.promote("a" * 64, "icu", who="A")
    registry.promote("b" * 64, "icu", who="A")
    assert registry.known("a" * 64).slots == ("chest",)
    assert registry.approved("chest").digest == "a" * 64
    assert registry.retire("a" * 64, who="A") == ("chest",)
    assert registry.approved("chest") is None
    assert registry.approved("icu").digest == "b" * 64


@pytest.mark.parametrize("verb", [None, "adapt"])
def test_what_was_never_validated_is_refused_unless_that_is_known(registry, new_model, validated, verb):
    registry.add(new_model("a"), who="adapt")
    if verb:
        registry.measure("a" * 64, replace(validated, verb=verb))
    with pytest.raises(RefusedError, match="never validated"):
        registry.promote("a" * 64, "default", who="A")
    assert registry.approved("default") is None
    registry.promote("a" * 64, "default", who="A", note="why", unvalidated=True)
    assert registry.approved("default").digest == "a" * 64


def test_what_is_retired_is_refused_until_it_is_reinstated(registry, new_model, validated):
    registry.add(new_model("a"), who="adapt")
    registry.measure("a" * 64, validated)
    registry.retire("a" * 64, who="A", note="worse at night")
    with pytest.raises(RefusedError, match="is retired;"):
        registry.promote("a" * 64, "default", who="A")
    with pytest.raises(RefusedError, match="retired already"):
        registry.retire("a" * 64, who="A")
    registry.reinstate("a" * 64, who="B", note="go back")
    with pytest.raises(RefusedError, match="it is candidate"):
        registry.reinstate("a" * 64, who="B", note="go back")
    registry.promote("a" * 64, "default", who="A")
    with pytest.raises(RefusedError, match="approved as default already"):
        registry.promote("a" * 64, "default", who="A")
    assert [event for event, *_ in happened(registry, "a" * 64)] == ["added", "retired", "reinstated", "promoted"]


def test_a_digest_is_found_by_its_beginning(registry, new_model):
    registry.add(new_model("a"), who="adapt")
    registry.add(replace(new_model("a"), digest="a" * 63 + "b"), who="adapt")
    registry.add(new_model("c"), who="adapt")
    assert registry.find("CCCCCC").digest == "c" * 64
    with pytest.raises(RegistryError, match="several"):
        registry.find("a" * 63)
    for text in ("d" * 6, "ccccc", "nonsense", "%%%%%%%"):
        with pytest.raises(RegistryError):
            registry.find(text)


@pytest.mark.parametrize("change", ["update model_event set who = 'X'", "delete from model_event"])
def test_the_database_refuses_to_change_what_happened(registry, url, new_model, change):
    registry.add(new_model("a"), who="adapt")
    engine = open_tables(url, sa.MetaData())
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(change)
    engine.dispose()
    assert happened(registry, "a" * 64) == [("added", "", "adapt", "")]


def test_the_database_itself_lets_a_slot_have_one_bundle(registry, url, new_model, validated):
    for letter in "ab":
        registry.add(new_model(letter), who="adapt")
    registry.promote("a" * 64, "default", who="A", note="x", unvalidated=True)
    engine = open_tables(url, sa.MetaData())
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql(f"insert into model_slot (slot, digest) values ('default', '{'b' * 64}')")
    engine.dispose()


def test_a_catalogue_of_an_older_version_gets_the_tables_and_keeps_its_rows(url, new_model):
    ref = SeriesRef(source="x", series_uid="1.2", status="ok", content="a" * 64, files=("/a",))
    with contextlib.closing(Catalog(url)) as catalog:
        catalog.record([ref])
    engine = open_tables(url, METADATA)
    assert "model" not in sa.inspect(engine).get_table_names()
    for _ in range(2):  # the second time they are there
        with contextlib.closing(Registry(url)) as registry:
            registry.add(new_model("a"), who="adapt")
            assert [found.digest for found in registry.models()] == ["a" * 64]
    with contextlib.closing(Catalog(url)) as catalog:
        assert catalog.counts() == {"ok": 1}
    engine.dispose()


def _promote_in_turns(url, letters, barrier):
    with contextlib.closing(Registry(url)) as registry:
        barrier.wait(60)
        for letter in letters:
            registry.promote(letter * 64, "default", who=letter)


def test_two_processes_that_promote_at_once_end_with_one_approved(url, new_model, validated):
    letters = "0123456789abcdef"
    with contextlib.closing(Registry(url)) as registry:
        for letter in letters:
            registry.add(new_model(letter), who="adapt")
            registry.measure(letter * 64, validated)
    context = get_context("fork")
    barrier = context.Barrier(2)
    halves = (letters[::2], letters[1::2])
    workers = [context.Process(target=_promote_in_turns, args=(url, half, barrier)) for half in halves]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with contextlib.closing(Registry(url)) as registry:
        states = [found.state for found in registry.models()]
        assert states.count(State.APPROVED) == 1
        assert states.count(State.RETIRED) == 15
        told = [event.event for letter in letters for event in registry.events(letter * 64)]
        assert (told.count("promoted"), told.count("retired")) == (16, 15)
