from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.score.engines.engine import FLOAT32, EngineKind, Slot
from pipeline.score.engines.exports import export

NETWORK = nn.Identity()


def kind(make):
    return EngineKind("kind", FLOAT32, lambda device: "", lambda network, slot: network, make, ("a", "b"))


def write(text="whole"):
    def make(network, slot):
        slot.folder.mkdir(parents=True)
        for name in ("a", "b"):
            (slot.folder / name).write_text(text)

    return make


@pytest.fixture
def slot(tmp_path):
    return Slot(tmp_path / "engines" / "a-b-1", torch.device("cpu"), 1, 8)


def left(slot):
    return sorted(path.name for path in slot.folder.parent.iterdir())


def test_what_is_cut_short_is_not_in_place(slot):
    def cut(network, slot):
        slot.folder.mkdir(parents=True)
        (slot.folder / "a").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        export(kind(cut), NETWORK, slot)
    assert left(slot) == []


def test_what_another_process_made_meanwhile_stays(slot):
    def late(network, mine):
        write("late")(network, mine)
        write("first")(network, slot)

    export(kind(late), NETWORK, slot)
    assert (slot.folder / "a").read_text() == (slot.folder / "b").read_text() == "first"
    assert left(slot) == ["a-b-1"]


def test_what_is_complete_is_not_written_again_and_what_is_not_is_made_anew(slot):
    export(kind(write("first")), NETWORK, slot)
    export(kind(write("second")), NETWORK, slot)
    assert (slot.folder / "a").read_text() == "first"
    Path(slot.folder / "b").unlink()
    export(kind(write("third")), NETWORK, slot)
    assert {path.read_text() for path in slot.folder.iterdir()} == {"third"}
