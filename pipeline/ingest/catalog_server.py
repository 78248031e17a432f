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
            return sa.create_engine(parsed)
        return sa.create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_SECONDS})
    except ImportError as error:
        raise CatalogError("catalogue: its driver is missing; pip install 'scanshift[postgres]'") from error
    except sa.exc.ArgumentError as error:
        raise CatalogError("catalogue: postgresql://user@host/database would be right") from error


@contextmanager
def reached(engine: sa.Engine) -> Iterator[None]:
    """Tell of a database that is not reached, without its password.

    Raises:
        CatalogError: If it is not.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        raise CatalogError(f"{shown(str(engine.url))}: the catalogue cannot be opened") from error


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
    """A URL as it may be printed: without its password, and of a file its path alone."""
    return (
        url.removeprefix("sqlite:///")
        if url.startswith("sqlite:///")
        else sa.make_url(url).render_as_string(hide_password=True)
    )
