"""What headers, file names, labels, sites and columns hold stays text: in no page is it markup, in no CSV a formula."""

import csv
import re
from html.parser import HTMLParser

import pytest

from tests.pipeline.pages.conftest import CALL, IMAGE, LINK, PATIENT, SCRIPT

PAGES = ("validation", "like_before", "volumes", "one_class", "adapt", "adapt_one_class", "compare", "shift", "check")
VERBATIM = {"path", "source", "file"}  # paths are other programs' keys; ARCHITECTURE's contract
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")


class Markup(HTMLParser):
    """The elements of a page that could run or fetch something, and its handlers."""

    def __init__(self):
        super().__init__()
        self.scripts, self.handlers, self.fetched, self.odd = 0, [], [], []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.fetched += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset", "action") and not value.startswith(("#", "data:image/webp;base64,"))
        ]
        self.odd += [tag] * (tag in ("iframe", "object", "embed", "link", "form", "base", "b onclick=1"))


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_an_element_that_is_not_its_own(written, name):
    found = Markup()
    found.feed(written.pages[name].read_text())
    assert (found.handlers, found.fetched, found.odd) == ([], [], [])
    assert found.scripts == (name == "volumes")


def test_the_planted_words_are_shown_as_text(written):
    page = written.pages["validation"].read_text()
    for words in (IMAGE, SCRIPT, LINK, CALL):
        shown = (
            words.replace("&", "&amp;")
            .replace("<", "&lt;")
            .replace(">", "&gt;")
            .replace('"', "&#34;")
            .replace("'", "&#39;")
        )
        assert shown in page
        assert words not in page


def test_no_cell_of_a_csv_is_a_formula(written):
    tables = [path for path in written.files(".csv") if path.parent.name != "scans"]
    assert {path.name for path in tables} >= {
        "predictions.csv",
        "per_class.csv",
        "scores.csv",
        "series.csv",
        "quarantine.csv",
    }
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            assert not [name for name in rows.fieldnames if name[:1] in "=+-@\t\r"], path
            for row in rows:
                cells = {name: cell for name, cell in row.items() if name not in VERBATIM}
                risky = [
                    cell for cell in cells.values() if cell[:1] in tuple("=+-@\t\r") and not NUMBER.fullmatch(cell)
                ]
                assert not risky, path


def test_formulas_come_with_an_apostrophe(written):
    with (written.root / "out" / "validation" / "predictions.csv").open(newline="") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels == {f"'{LINK}", IMAGE}


def test_the_patient_is_nowhere(written):
    kept = [
        path for ending in (".html", ".json", ".yaml", ".md", ".txt", ".csv", ".png") for path in written.files(ending)
    ]
    own = {"labels.csv", "series.csv", "quarantine.csv", "predictions.csv", "scores.csv"}
    assert len(kept) > 30
    for path in kept:
        if path.name not in own and "ws" not in path.parts:
            assert PATIENT.encode() not in path.read_bytes(), path
    for path in written.files(".csv"):
        if path.name != "labels.csv":
            assert "window.ran=3" not in path.read_text(), path  # the name in the header is in no table at all
