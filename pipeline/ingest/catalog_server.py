"""A catalogue on a database server: how it is reached, and that one transaction writes at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pipeline.errors import CatalogError

CONNECT_SECONDS = 15
WRITER_LOCK = 0x5343414E  # any number that every ScanShift agrees on
POSTGRES = ("postgres://", "postgresql://")


def open_engine(url: str) -> sa.Engine:
    """The engine for a URL; PostgreSQL is spoken to by psycopg 3 unless the URL names another driver.

    Raises:
        CatalogError: If it is no URL, or its driver is not installed.
    """
    for scheme in POSTGRES:
        if url.startswith(scheme):
            url = f"postgresql+psycopg://{url.removeprefix(scheme)}"
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() != "postgresql":
            return sa.create_engine(parsed, hide_parameters=True)
        return sa.create_engine(
            parsed, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_SECONDS}
        )
    except ImportError as error:
        raise CatalogError("catalogue: its driver is missing; pip install 'scanshift[postgres]'") from error
    except (sa.exc.ArgumentError, ValueError) as error:
        raise CatalogError("catalogue: postgresql://user@host/database would be right") from error


@contextmanager
def reached(engine: sa.Engine, failing: str) -> Iterator[None]:
    """Tell of a database that is not reached, without its password, and without the rows on their way to it.

    Raises:
        CatalogError: If it is not.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        full = "; the disk is full" if "disk is full" in str(error.orig) else ""
        raise CatalogError(f"{shown(str(engine.url))}: the catalogue {failing}{full}") from error


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read from.

    Raises:
        CatalogError: If the database fails.
    """
    with reached(engine, "could not be read"), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine, failing: str = "could not be written") -> Iterator[sa.Connection]:
    """A transaction, the only one that writes.

    Raises:
        CatalogError: If the database fails; nothing of it is written then.
    """
    with reached(engine, failing), engine.begin() as connection:
        one_writer(connection)
        yield connection


def one_writer(connection: sa.Connection) -> None:
    """Wait until no other transaction writes, as SQLite does by itself.

    Two runs that delete and insert the same rows would else fail, or wait for each other for ever.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))


def storable(text: str) -> str:
    """A text from a header as every database takes it: PostgreSQL has no NUL, and none has half a surrogate pair."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def shown(url: str) -> str:
    """A URL as it may be printed: without its password, wherever that stands, and of a file its path alone."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    parsed = sa.make_url(url)
    host = (parsed.host or "").rpartition("@")[2]  # of a password that holds an @, the rest stands here
    return parsed.set(query={}, host=host).render_as_string(hide_password=True)
