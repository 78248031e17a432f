"""What runs a network over batches of slices, and how far each way may lie from eager float32."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.detect.slices import SCORING_BATCH
from pipeline.errors import PipelineError

Run = Callable[[Tensor], Tensor]
REFERENCE = "eager"
FLOAT32, REDUCED = 1e-3, 1e-2  # largest difference of a calibrated score


class EngineError(PipelineError):
    """An engine that cannot be used here, and why."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What an engine is made for.

    Attributes:
        folder: Where what it exports is kept.
        device: Where the network runs.
        channels: C of the slices, 1 or 3.
        size: S, their side in pixels.
    """

    folder: Path
    device: torch.device
    channels: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The one shape of a batch (B, C, S, S)."""
        return SCORING_BATCH, self.channels, self.size, self.size


@dataclass(frozen=True, slots=True)
class EngineKind:
    """A way to run a network.

    Attributes:
        name: As `--engine` takes it.
        tolerance: Largest difference of a calibrated score from eager float32 that it may show; 0 for the reference.
        missing: Why it cannot be used on a device; empty where it can.
        export: Makes what `load` reads, once for each bundle and machine.
        load: Gives a function of batches of the slot's shape, in [0, 1] on the device, to rows (B, K) float32.
        files: Names of what `export` writes.
    """

    name: str
    tolerance: float
    missing: Callable[[torch.device], str]
    load: Callable[[nn.Module, Slot], Run]
    export: Callable[[nn.Module, Slot], None] | None = None
    files: tuple[str, ...] = ()


class RowsModule(nn.Module):
    """A model's function of slices as a module, so that it can be traced.

    Args:
        owner: Holds the parameters that `run` uses.
        run: Slices (B, C, S, S) in [0, 1] to rows (B, K).
    """

    def __init__(self, owner: nn.Module, run: Run) -> None:
        super().__init__()
        self.owner, self.run = owner, run
        self.eval()

    def forward(self, slices: Tensor) -> Tensor:
        """Rows (B, K), float32."""
        return self.run(slices).float()
