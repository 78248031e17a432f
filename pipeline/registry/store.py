"""The registry in the catalogue's database: SQLite, or PostgreSQL by URL. One transaction writes at a time."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.errors import RefusedError, RegistryError
from pipeline.ingest.catalog_open import open_tables
from pipeline.ingest.catalog_server import reading, storable, writing
from pipeline.registry.records import (
    ADDED,
    MOVED,
    PROMOTED,
    REINSTATED,
    RETIRED,
    VALIDATED,
    Event,
    Measurement,
    Model,
    SiteFigure,
    State,
)
from pipeline.registry.tables import REGISTRY, event_table, measurement_table, model_table, place_table, slot_table

SHORTEST = 6  # hex digits of a digest that may stand for it


def now() -> str:
    """UTC time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Registry:
    """Bundles by digest.

    Args:
        url: SQLAlchemy URL of the catalogue; a catalogue of an older version gets the tables it lacks.

    Raises:
        CatalogError: If the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_tables(url, REGISTRY)

    def close(self) -> None:
        """Give back the database connections."""
        self._engine.dispose()

    def add(self, model: Model, *, who: str, note: str = "") -> bool:
        """Take in a bundle as a candidate; one that is known stays as it is.

        Returns:
            Whether it was new.
        """
        with writing(self._engine) as connection:
            if _row(connection, model.digest) is not None:
                return False
            values = {**asdict(model), "classes": json.dumps(model.classes), "retired": False}
            values["backbone"] = storable(model.backbone)
            connection.execute(
                sa.insert(model_table).values({column.name: values[column.name] for column in model_table.c})
            )
            connection.execute(sa.insert(place_table).values(digest=model.digest, folder=_path(model.folder)))
            _note(connection, model.digest, ADDED, who=who, note=note)
            return True

    def move(self, digest: str, folder: Path, *, who: str) -> None:
        """Note that a bundle lies elsewhere."""
        with writing(self._engine) as connection:
            there = sa.update(place_table).where(place_table.c.digest == digest, place_table.c.folder != _path(folder))
            if connection.execute(there.values(folder=_path(folder))).rowcount:
                _note(connection, digest, MOVED, who=who)

    def measure(self, digest: str, found: Measurement) -> None:
        """Add a measured line; earlier ones stay."""
        values = {**asdict(found), "sites": json.dumps([asdict(site) for site in found.sites])}
        with writing(self._engine) as connection:
            connection.execute(sa.insert(measurement_table).values(digest=digest, **values))

    def promote(self, digest: str, slot: str, *, who: str, note: str = "", unvalidated: bool = False) -> str:
        """Approve a bundle for a slot; the one approved before is retired in the same transaction, unless another
        slot has it.

        Returns:
            Digest of the one approved before; empty for none.

        Raises:
            RefusedError: If it is retired or has the slot already, or no `validate` has measured it and `unvalidated`
                does not say that this is known.
        """
        with writing(self._engine) as connection:
            model = _get(connection, digest)
            if model.state == State.RETIRED:
                raise RefusedError(f"{model.short} is retired; models reinstate makes it a candidate again")
            if slot in model.slots:
                raise RefusedError(f"{model.short} is approved as {slot} already")
            if not unvalidated and not _validated(connection, digest):
                raise RefusedError(
                    f"{model.short} was never validated on scans that training has not seen; run scanshift validate, "
                    "or give --unvalidated and a --note that says why"
                )
            before = connection.scalar(sa.select(slot_table.c.digest).where(slot_table.c.slot == slot)) or ""
            connection.execute(sa.delete(slot_table).where(slot_table.c.slot == slot))
            if before and not _get(connection, before).slots:
                _set_retired(connection, before, True)
                _note(connection, before, RETIRED, slot=slot, who=who, note=f"{model.short} was promoted")
            connection.execute(sa.insert(slot_table).values(slot=slot, digest=digest))
            _note(connection, digest, PROMOTED, slot=slot, who=who, note=note)
            return before

    def retire(self, digest: str, *, who: str, note: str = "") -> tuple[str, ...]:
        """Take a bundle out of use.

        Returns:
            The slots that have no approved bundle now.

        Raises:
            RefusedError: If it is retired already.
        """
        with writing(self._engine) as connection:
            model = _get(connection, digest)
            if model.state == State.RETIRED:
                raise RefusedError(f"{model.short} is retired already")
            connection.execute(sa.delete(slot_table).where(slot_table.c.digest == digest))
            _set_retired(connection, digest, True)
            for slot in model.slots or ("",):
                _note(connection, digest, RETIRED, slot=slot, who=who, note=note)
            return model.slots

    def reinstate(self, digest: str, *, who: str, note: str) -> None:
        """Make a retired bundle a candidate again, such as one to go back to.

        Raises:
            RefusedError: If it is not retired.
        """
        with writing(self._engine) as connection:
            model = _get(connection, digest)
            if model.state != State.RETIRED:
                raise RefusedError(f"{model.short} is not retired, it is {model.state}")
            _set_retired(connection, digest, False)
            _note(connection, digest, REINSTATED, who=who, note=note)

    def models(self) -> list[Model]:
        """Every bundle, in the order in which they came."""
        first = sa.select(event_table.c.digest, sa.func.min(event_table.c.id).label("first"))
        came = first.group_by(event_table.c.digest).subquery()
        query = sa.select(came.c.digest).order_by(came.c.first)
        with reading(self._engine) as connection:
            return [_get(connection, digest) for digest in connection.scalars(query).all()]

    def find(self, digits: str) -> Model:
        """The bundle whose digest begins so.

        Raises:
            RegistryError: If there is none, or more than one.
        """
        begins = digits.lower()
        if len(begins) < SHORTEST or set(begins) - set("0123456789abcdef"):
            raise RegistryError(f"{digits}: neither a bundle's folder nor the first {SHORTEST} digits of a digest")
        query = sa.select(model_table.c.digest).where(model_table.c.digest.startswith(begins)).limit(2)
        with reading(self._engine) as connection:
            found = connection.scalars(query).all()
            if len(found) != 1:
                many = "is the beginning of several digests" if found else "no such bundle in the registry"
                raise RegistryError(f"{digits}: {many}; see scanshift models list")
            return _get(connection, found[0])

    def known(self, digest: str) -> Model | None:
        """The bundle of a digest, if it is there."""
        with reading(self._engine) as connection:
            return _row(connection, digest)

    def approved(self, slot: str) -> Model | None:
        """The bundle that is approved for a slot."""
        with reading(self._engine) as connection:
            digest = connection.scalar(sa.select(slot_table.c.digest).where(slot_table.c.slot == slot))
            return _get(connection, digest) if digest else None

    def measurements(self, digest: str) -> list[Measurement]:
        """What was measured of a bundle, the oldest first."""
        query = sa.select(measurement_table).where(measurement_table.c.digest == digest)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(measurement_table.c.id)).mappings().all()
        return [_measurement(dict(row)) for row in rows]

    def events(self, digest: str) -> list[Event]:
        """What happened to a bundle, the oldest first."""
        columns = [event_table.c[name] for name in Event.__dataclass_fields__]
        query = sa.select(*columns).where(event_table.c.digest == digest).order_by(event_table.c.id)
        with reading(self._engine) as connection:
            return [Event(*row) for row in connection.execute(query)]


def _row(connection: sa.Connection, digest: str) -> Model | None:
    query = sa.select(model_table, place_table.c.folder).join(place_table).where(model_table.c.digest == digest)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    slots = connection.scalars(sa.select(slot_table.c.slot).where(slot_table.c.digest == digest)).all()
    values: dict[str, Any] = {**row, "classes": tuple(json.loads(row["classes"])), "slots": tuple(sorted(slots))}
    return Model(**{**values, "folder": Path(json.loads(row["folder"]))})


def _get(connection: sa.Connection, digest: str) -> Model:
    model = _row(connection, digest)
    if model is None:
        raise RegistryError(f"{digest[:12]}: no such bundle in the registry; see scanshift models list")
    return model


def _validated(connection: sa.Connection, digest: str) -> bool:
    lines = sa.select(measurement_table.c.id).where(
        measurement_table.c.digest == digest, measurement_table.c.verb == VALIDATED
    )
    return connection.execute(lines.limit(1)).first() is not None


def _set_retired(connection: sa.Connection, digest: str, retired: bool) -> None:
    connection.execute(sa.update(model_table).where(model_table.c.digest == digest).values(retired=retired))


def _note(connection: sa.Connection, digest: str, event: str, *, who: str, slot: str = "", note: str = "") -> None:
    values = {"digest": digest, "at": now(), "event": event, "slot": slot, "who": storable(who), "note": storable(note)}
    connection.execute(sa.insert(event_table).values(values))


def _measurement(row: dict[str, Any]) -> Measurement:
    values = {name: row[name] for name in Measurement.__dataclass_fields__}
    return replace(Measurement(**values), sites=tuple(SiteFigure(**site) for site in json.loads(row["sites"])))


def _path(folder: Path) -> str:
    return json.dumps(str(folder))


def newest(lines: Sequence[Measurement]) -> Measurement | None:
    """The line that stands for a bundle: the last of `validate`, or else the last."""
    return next((line for line in reversed(lines) if line.verb == VALIDATED), lines[-1] if lines else None)
