"""What engines export: in place only when it is complete, so that processes may make the same one at once."""

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from torch import nn

from pipeline.score.engines.engine import EngineKind, Slot


def export(kind: EngineKind, network: nn.Module, slot: Slot) -> None:
    """Make what a kind loads, beside its place, and move it there; what is there and complete stays.

    Files in place are never written again: another process may be running the network from them.

    Raises:
        EngineError: If the network cannot be converted.
        OSError: If it cannot be written.
    """
    if kind.export is None or all((slot.folder / name).is_file() for name in kind.files):
        return
    discard(kind, slot)
    slot.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=slot.folder.parent) as beside:
        made = Path(beside) / slot.folder.name
        kind.export(network, replace(slot, folder=made))
        with contextlib.suppress(OSError):  # another process was first
            made.rename(slot.folder)


def discard(kind: EngineKind, slot: Slot) -> None:
    """Remove what a kind exported, so that it is made anew; who has it open keeps it."""
    if kind.files:
        shutil.rmtree(slot.folder, ignore_errors=True)
