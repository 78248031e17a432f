"""What every alignment loss takes and gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class DomainBatch:
    """Source and target side of one training step.

    Attributes:
        source: Standardised, pooled features of labelled source scans, shape (B, F), float32.
        target: The same of unlabelled target scans, shape (B', F).
        target_logits: What the head makes of `target`, shape (B', L).
        done: Share of the training that is done, 0..1.
    """

    source: Tensor
    target: Tensor
    target_logits: Tensor
    done: float


class AlignmentLoss(nn.Module, ABC):
    """A loss that falls as the two sides of a batch become alike. Subclasses say how in `forward`.

    Attributes:
        least_rows: Fewest rows that a side needs for the loss to be defined.
    """

    least_rows: int = 1

    @abstractmethod
    def forward(self, batch: DomainBatch) -> Tensor:
        """The loss, a scalar with gradient."""


MakeLoss = Callable[[int, int], AlignmentLoss]
"""Takes F, the number of features, and a seed."""
