"""URLs of a catalogue that cannot be reached, and passwords in them."""

import pytest

from pipeline.errors import CatalogError
from pipeline.ingest.catalog import Catalog
from pipeline.ingest.catalog_server import shown


def test_a_server_that_is_not_there_is_told_without_the_password():
    with pytest.raises(CatalogError) as told:
        Catalog("postgresql://me:verysecret@127.0.0.1:1/x")
    assert str(told.value) == "postgresql+psycopg://me:***@127.0.0.1:1/x: the catalogue cannot be opened"
    with pytest.raises(CatalogError, match="would be right"):
        Catalog("not a url")


def test_what_is_shown_has_no_password():
    assert shown("postgresql://me:verysecret@host/x") == "postgresql://me:***@host/x"
    assert shown("sqlite:////w/catalog.db") == "/w/catalog.db"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:very@secret@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?password=verysecret",
        "postgresql://me:verysecret@127.0.0.1:port/x",
        "postgresql://127.0.0.1:1/x?unknown=verysecret",
    ],
)
def test_no_password_is_told_wherever_it_stands(url):
    with pytest.raises(CatalogError) as told:
        Catalog(url)
    assert "secret" not in str(told.value)
