"""Wrong calls of the command: told before a key is made, and without harm to what is there."""

import pytest

from flows import cli


@pytest.fixture
def place(ct, save, tmp_path):
    """A folder with one object, a note elsewhere, and no key yet."""
    save(ct(), tmp_path / "in" / "one.dcm")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "dest", "more", "code"),
    [
        ("in", "in/out", [], 2),
        ("in/deeper", "in", [], 2),
        ("nowhere", "out", [], 1),
        ("in", "full", [], 1),
        ("in", "full/mine.txt", [], 1),
        ("in", "out", ["--table", "key"], 2),
        ("in", "out", ["--table", "full"], 2),
        ("in", "out", ["--table", "out/table.csv"], 2),
        ("in", "out", ["--table", "full/mine.txt/table.csv"], 1),
        ("in", "out", ["--mask", "1,2,3"], 2),
    ],
)
def test_a_wrong_call_makes_no_key_and_no_output(place, monkeypatch, capsys, source, dest, more, code):
    monkeypatch.chdir(place)
    assert cli.main(["deidentify", source, dest, "--key", "key", *more]) == code
    assert sorted(path.name for path in place.iterdir()) == ["full", "in"]
    assert (place / "full" / "mine.txt").read_text() == "keep"
    assert capsys.readouterr().err.count("\n") == 1


def test_the_table_never_takes_the_place_of_the_key(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "key").write_text("ab" * 32)
    assert cli.main(["deidentify", "in", "out", "--key", "key", "--table", "full/../key"]) == 2
    assert (place / "key").read_text() == "ab" * 32
