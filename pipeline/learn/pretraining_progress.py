"""How far continued pretraining is, in memory and on disk."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.learn.checkpoint import Checkpoint
from pipeline.workspace import whole_file

Row = tuple[float, float, float]


@dataclass(slots=True)
class Pretraining:
    """How continued pretraining went.

    Attributes:
        epoch: Epochs done.
        history: Mean loss (-1..1), spread of the projections (1 is even, 0 collapsed) and of the backbone's features
            as a share of their spread at the start, an epoch each.
        first_spread: Spread of the features at the very first step.
        notes: What the report must tell: where it ended before its time, and which state was kept.
    """

    epoch: int = 0
    history: list[Row] = field(default_factory=list)
    first_spread: float | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class States:
    """All that has a state while the backbone learns without labels.

    Attributes:
        classifier, siamese, optimizer: As they are now.
        start: The classifier's state before pretraining.
        good: Its state after the last epoch that ended well.
    """

    classifier: nn.Module
    siamese: nn.Module
    optimizer: torch.optim.Optimizer
    start: dict[str, Any] = field(init=False)
    good: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.good = copy.deepcopy(self.classifier.state_dict())

    def mark_good(self) -> None:
        """Remember the classifier as it is now."""
        self.good = copy.deepcopy(self.classifier.state_dict())

    def save(self, checkpoint: Checkpoint, progress: Pretraining) -> None:
        """Write everything whole or not at all."""
        record = {
            "epoch": progress.epoch,
            "history": progress.history,
            "first_spread": progress.first_spread,
            "notes": progress.notes,
            "start": self.start,
            "classifier": self.classifier.state_dict(),
            "siamese": self.siamese.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with whole_file(checkpoint.path, mode="wb") as file:
            torch.save(record, file)

    def load(self, checkpoint: Checkpoint) -> Pretraining:
        """Take up what was saved and return the progress; a fresh one where there is no file."""
        if not checkpoint.path.exists():
            return Pretraining()
        record = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
        self.classifier.load_state_dict(record["classifier"])
        self.siamese.load_state_dict(record["siamese"])
        self.optimizer.load_state_dict(record["optimizer"])
        self.start = record["start"]
        self.mark_good()
        return Pretraining(record["epoch"], record["history"], record["first_spread"], record["notes"])
