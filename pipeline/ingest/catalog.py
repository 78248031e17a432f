"""The catalogue: which series there are, without identity, and where they lie, which is the user's own."""

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from pipeline.ingest.catalog_open import open_tables
from pipeline.ingest.catalog_server import reading, storable, writing
from pipeline.ingest.catalog_tables import METADATA, file_table, locator_table, series_table
from pipeline.ingest.facts import FACTS_VERSION, FileFacts, facts_from_json
from pipeline.scan import SeriesRef

CHUNK = 400  # SQLite takes at most 999 parameters in old builds


class Catalog:
    """A database of series and files; SQLite on a local disk, or any other that SQLAlchemy reaches.

    Args:
        url: SQLAlchemy URL. An SQLite file is made with mode 0600, in WAL mode.

    Raises:
        CatalogError: If the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_tables(url, METADATA)

    def close(self) -> None:
        """Give back the database connections."""
        self._engine.dispose()

    def known(self, paths: Sequence[str]) -> dict[str, FileFacts]:
        """What is remembered of files, by path as given; whether they changed since is for the caller to see."""
        by_key = {_key(path): path for path in paths}
        query = sa.select(file_table.c.path, file_table.c.facts)
        found: dict[str, FileFacts] = {}
        with reading(self._engine) as connection:
            for keys in _chunks(list(by_key)):
                chosen = query.where(file_table.c.path.in_(keys), file_table.c.version == FACTS_VERSION)
                for key, text in connection.execute(chosen):
                    found[by_key[key]] = facts_from_json(text)
        return found

    def remember(self, files: Sequence[FileFacts]) -> None:
        """Keep what was learnt of files, in place of what was known of the same paths."""
        rows = {
            _key(file.path): {"path": _key(file.path), "version": FACTS_VERSION, "facts": file.to_json()}
            for file in files
        }
        if not rows:
            return
        with writing(self._engine) as connection:
            for keys in _chunks(list(rows)):
                connection.execute(sa.delete(file_table).where(file_table.c.path.in_(keys)))
                connection.execute(sa.insert(file_table), [rows[key] for key in keys])

    def record(self, refs: Sequence[SeriesRef]) -> None:
        """Note series and files: new ones are added, moved ones keep their id, unchanged ones stay as they are.

        A row whose files now make something else, such as a series that gained a slice, gives way to it.
        """
        rows = _keyed(refs)
        with writing(self._engine) as connection:
            _drop_superseded(connection, rows)
            existing = _existing(connection, list(rows))
            new = {key: uuid.uuid4().hex for key in rows if key not in existing}
            for keys in _chunks(list(new)):
                series_rows = [{"id": new[key], **_series_row(key, rows[key])} for key in keys]
                connection.execute(sa.insert(series_table), series_rows)
                locator_rows = [{"series_id": new[key], **_locator_row(rows[key])} for key in keys]
                connection.execute(sa.insert(locator_table), locator_rows)
            for key, (identifier, before) in existing.items():
                series, locator = _series_row(key, rows[key]), _locator_row(rows[key])
                if before != {**series, **locator}:
                    connection.execute(sa.update(series_table).where(series_table.c.id == identifier).values(**series))
                    connection.execute(
                        sa.update(locator_table).where(locator_table.c.series_id == identifier).values(**locator)
                    )

    def find(self, series_uids: Sequence[str]) -> list[SeriesRef]:
        """Readable series by their Series Instance UID, as `record` noted them last."""
        found: list[SeriesRef] = []
        for some in _chunks(list(dict.fromkeys(storable(uid) for uid in series_uids))):
            found += self._refs(sa.and_(locator_table.c.series_uid.in_(some), series_table.c.status == "ok"))
        return found

    def refused(self) -> list[SeriesRef]:
        """Every series and file in the catalogue that was refused."""
        return self._refs(series_table.c.status == "refused")

    def _refs(self, condition: sa.ColumnElement[bool]) -> list[SeriesRef]:
        query = sa.select(series_table, *_but(locator_table, "series_id")).join(locator_table).where(condition)
        with reading(self._engine) as connection:
            return [_ref(dict(row)) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[str, int]:
        """How many series and files have each status."""
        query = sa.select(series_table.c.status, sa.func.count()).group_by(series_table.c.status)
        with reading(self._engine) as connection:
            return {status: int(count) for status, count in connection.execute(query)}


def _keyed(refs: Sequence[SeriesRef]) -> dict[str, SeriesRef]:
    """Each reference by what stays when its files move: content, volume, and which copy of it, in order."""
    seen: Counter[str] = Counter()
    rows: dict[str, SeriesRef] = {}
    for ref in sorted(refs, key=lambda ref: (ref.status == "ignored", ref.source, ref.series_uid, ref.files)):
        base = ref.content or hashlib.sha256(_key("/".join(ref.files)).encode()).hexdigest()
        name = f"{base}#{ref.volume}"
        rows[f"{name}@{seen[name]}"] = ref
        seen[name] += 1
    return rows


def _existing(connection: sa.Connection, keys: Sequence[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """For each key in the catalogue its id, and its values in both tables."""
    query = sa.select(series_table, *_but(locator_table, "series_id")).join(locator_table)
    found = {}
    for some in _chunks(keys):
        for row in connection.execute(query.where(series_table.c.key.in_(some))).mappings():
            found[row["key"]] = (row["id"], {name: value for name, value in row.items() if name != "id"})
    return found


def _drop_superseded(connection: sa.Connection, rows: Mapping[str, SeriesRef]) -> None:
    """Delete rows that begin with a file of these rows but are none of them."""
    query = sa.select(series_table.c.id, series_table.c.key).join(locator_table)
    paths = [_key(path) for ref in rows.values() for path in ref.files]
    stale = []
    for some in _chunks(paths):
        for identifier, key in connection.execute(query.where(locator_table.c.first_file.in_(some))):
            if key not in rows:
                stale.append(identifier)
    for some in _chunks(stale):
        connection.execute(sa.delete(locator_table).where(locator_table.c.series_id.in_(some)))
        connection.execute(sa.delete(series_table).where(series_table.c.id.in_(some)))


def _series_row(key: str, ref: SeriesRef) -> dict[str, Any]:
    return {
        "key": key,
        "content": ref.content,
        "volume": ref.volume,
        "status": ref.status,
        "reason": storable(ref.reason),
        "format": ref.format,
        "modality": storable(ref.modality)[:16],
        "kind": ref.kind,
        "images": ref.images,
        "shape": "x".join(str(size) for size in ref.shape),
        "geometry": ref.geometry,
    }


def _locator_row(ref: SeriesRef) -> dict[str, Any]:
    return {
        "source": ref.source,
        "series_uid": storable(ref.series_uid),
        "patient": storable(ref.patient),
        "first_file": _key(ref.files[0]) if ref.files else "",
        "files": json.dumps(ref.files),
    }


def _ref(row: Mapping[str, Any]) -> SeriesRef:
    """The reference that `_series_row` and `_locator_row` noted."""
    return SeriesRef(
        source=row["source"],
        series_uid=row["series_uid"],
        status=row["status"],
        reason=row["reason"],
        format=row["format"],
        modality=row["modality"],
        files=tuple(json.loads(row["files"])),
        volume=row["volume"],
        images=row["images"],
        content=row["content"],
        patient=row["patient"],
        shape=tuple(int(size) for size in row["shape"].split("x") if size),
        geometry=row["geometry"],
    )


def _but(table: sa.Table, name: str) -> list[sa.Column[Any]]:
    return [column for column in table.c if column.name != name]


def _key(path: str) -> str:
    """A path as text that any database takes: bytes that are no UTF-8 as backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
