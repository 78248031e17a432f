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
AGAIN_BATCH = 4  # slices; what is computed again is little, and a batch is always filled up
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
        batch: B, slices in a batch.
    """

    folder: Path
    device: torch.device
    channels: int
    size: int
    batch: int = SCORING_BATCH

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The one shape of a batch (B, C, S, S)."""
        return self.batch, self.channels, self.size, self.size


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
        exact: The kind that computes again what this one leaves in doubt; the reference where it has none.
    """

    name: str
    tolerance: float
    missing: Callable[[torch.device], str]
    load: Callable[[nn.Module, Slot], Run]
    export: Callable[[nn.Module, Slot], None] | None = None
    files: tuple[str, ...] = ()
    exact: str = REFERENCE


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """What runs a network.

    Attributes:
        name: Its kind's.
        tolerance: Scans that lie this close to a threshold are computed again; 0 for none.
        reach: How far latent numbers may be off, see `seal.in_doubt`.
        exact: What computes scans in doubt again; eager float32 where there is none.
        run: Batches of slices in [0, 1] to rows; None for the model's own network.
        batch: B, slices in a batch.
        channels: C of the slices that it takes; others go through the model's own network; None for any.
        note: What was chosen and why, in words; empty where nothing was to choose.
    """

    name: str = REFERENCE
    tolerance: float = 0.0
    run: Run | None = None
    batch: int = SCORING_BATCH
    channels: int | None = None
    note: str = ""
    reach: float = 0.0
    exact: "Engine | None" = None

    @property
    def text(self) -> str:
        """As the ledger has it: its name, and the batch where it was halved."""
        return self.name if self.batch == SCORING_BATCH else f"{self.name}:{self.batch}"


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
