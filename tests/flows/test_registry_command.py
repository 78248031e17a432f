"""`scanshift models` and `--bundle approved:NAME`, run as a user runs them, in this process."""

import shutil

import pytest

from models.bundle import open_bundle
from pipeline.errors import CatalogError
from pipeline.watch import Watch


@pytest.fixture
def bundle(radiograph_bundle, tmp_path):
    """A copy that may be harmed."""
    return shutil.copytree(radiograph_bundle, tmp_path / "bundle")


@pytest.fixture
def space(command, bundle, tmp_path):
    """A workspace whose registry has the bundle."""
    folder = tmp_path / "ws"
    assert command("models", "add", bundle, "-w", folder).code == 0
    return folder


PROMOTE = ("--by", "Dr. A", "--unvalidated", "--note", "a trial")


def test_a_bundle_goes_its_way(command, space, bundle):
    digest = open_bundle(bundle).digest
    told = command("models", "promote", digest[:8], "-w", space, *PROMOTE, "--as", "chest")
    assert told.out == f"{digest[:12]}: approved as chest\n"
    assert "approved  chest        Dr. A" in command("models", "list", "-w", space).out
    shown = command("models", "show", bundle, "-w", space, "--json").record
    assert (shown["digest"], shown["state"], shown["intact"]) == (digest, "approved", True)
    assert [event["event"] for event in shown["events"]] == ["added", "promoted"]
    assert command("models", "retire", digest, "-w", space, "--by", "B").out.splitlines() == [
        f"{digest[:12]}: retired",
        "chest: no bundle is approved now",
    ]
    told = command("models", "promote", digest, "-w", space, *PROMOTE)
    assert told.code == 1
    assert told.error.startswith("refused: ")
    assert command("models", "reinstate", digest, "-w", space, "--by", "B", "--note", "back").code == 0
    (row,) = command("models", "list", "-w", space, "--json").record["models"]
    assert row["state"] == "candidate"


def test_scoring_uses_what_is_approved(command, space, bundle, incoming, tmp_path):
    arguments = ["score", incoming, "--bundle", "approved:default", "-w", space, "-o", tmp_path / "out"]
    told = command(*arguments)
    assert (told.code, told.out) == (1, "")
    assert told.error == ("scanshift: approved:default: no bundle is approved; scanshift models promote approves one\n")
    assert not (tmp_path / "out").exists()
    command("models", "promote", bundle, "-w", space, *PROMOTE)
    assert command(*arguments, "--dry-run").code == 0
    assert command(*arguments).code == 0
    rows = (tmp_path / "out" / "scores.csv").read_text().splitlines()[1:]
    assert {row.rpartition(",")[2] for row in rows if ",scored," in row} == {open_bundle(bundle).digest}
    (bundle / "configs" / "scanshift.yaml").write_text("changed")
    told = command(*arguments)
    assert (told.code, told.out) == (1, "")
    assert "was altered" in told.error
    assert told.error.count("\n") == 1


def test_validation_is_noted(command, space, bundle, samples, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    told = command("validate", bundle, labels, "-w", space, "-o", tmp_path / "v", "--json")
    assert told.record["registered"] is True
    (row,) = command("models", "list", "-w", space, "--json").record["models"]
    assert row["measurement"]["measured_on"] == "test rows"
    assert row["measurement"]["auroc"] == told.record["auroc"]["value"]
    assert [site["site"] for site in row["measurement"]["sites"]] == ["north", "south"]
    assert command("models", "promote", bundle, "-w", space, "--by", "A").code == 0


def test_what_cannot_be_noted_is_said_and_the_work_stands():
    from flows.register import register

    def fail():
        raise CatalogError("the catalogue cannot be opened")

    notes = []
    assert register(Watch(note=notes.append), fail) is False
    assert notes[0].startswith("NOT in the model registry: the catalogue cannot be opened")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["list", "-w", "nowhere"], 1, "nowhere: no such workspace"),
        (["show", "abcdef", "-w", "ws"], 1, "no such bundle"),
        (["promote", "abcdef", "-w", "ws"], 2, "--by"),
        (["promote", "abcdef", "-w", "ws", "--by", "A", "--as", "a b"], 2, "a slot is named"),
        (["promote", "abcdef", "-w", "ws", "--by", "A", "--unvalidated"], 2, "--note"),
        (["retire", "abcdef", "-w", "ws", "--by", " "], 2, "--by: say who"),
        (["list"], 2, "-w"),
    ],
)
def test_what_cannot_be_done_is_told(command, space, words, code, error):
    told = command("models", *words)
    assert (told.code, told.out) == (code, "")
    assert error in told.error


def test_an_approved_bundle_needs_a_workspace(command, incoming, tmp_path):
    told = command("score", incoming, "--bundle", "approved:default", "-o", tmp_path / "out")
    assert told.code == 2
    assert "-w" in told.error
    told = command("score", incoming, "--bundle", "approved:default", "-o", tmp_path / "out", "-w", tmp_path / "none")
    assert (told.code, told.error.count("\n")) == (1, 1)
    assert not (tmp_path / "none").exists()
