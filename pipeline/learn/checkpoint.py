"""Progress of a training run on disk, so that a killed run goes on from its last epoch."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.classifier import SliceBagClassifier
from pipeline.errors import TrainingError
from pipeline.evaluate.plots import EpochRow
from pipeline.workspace import whole_file

TIE = 3  # decimals of AUROC within which the loss decides

Rank = tuple[float, float]
Best = tuple[Rank, dict[str, Any]]


def rank(auroc: float, loss: float) -> Rank:
    """What decides between two states: AUROC rounded to 3 decimals, then minus the loss; more is better."""
    return round(auroc, TIE), -loss


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        phase, epoch: Next phase, and how many of its epochs are done.
        worse: Epochs of this phase since the last better one.
        history: One row an epoch.
        best: Best validation figures and the state that had them.
        optimizer: The optimizer's state in mid-phase.
        term: What an alignment term has learned.
        notes: What the report must tell of the run.
        path: Validation losses of the current row of phases from simple to complex.
        probe: What was best at the end of the last cached phase, where a later one needs it.
        soup: Average of some phases' states, with its figures.
        in_soup: Number of states in it.
    """

    phase: int = 0
    epoch: int = 0
    worse: int = 0
    history: list[EpochRow] = field(default_factory=list)
    best: Best | None = None
    optimizer: dict[str, Any] | None = None
    term: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    probe: Best | None = None
    soup: Best | None = None
    in_soup: int = 0

    def path_ends(self) -> bool:
        """Whether the last two steps of a path both failed to reach the lowest validation loss before them.

        Along a path of penalties from strong to weak, the validation loss of a convex head falls and then rises; two
        rises in a row are past its lowest point, so that what is left out could not have been chosen. Noise is no
        part of this rule: a slow fall within the noise goes on, and may yet end below it.
        """
        return len(self.path) >= 3 and min(self.path[-2:]) >= min(self.path[:-2])

    def offer(self, classifier: SliceBagClassifier, auroc: float, loss: float, noise: float | None = None) -> bool:
        """Keep a copy of the classifier's state if it is the best so far, and say whether it is.

        Args:
            auroc, loss: On the validation set.
            noise: Where given, the loss must be lower by more than this, and AUROC does not matter.
        """
        figures = rank(auroc, loss)
        if self.best is not None:
            better = figures > self.best[0] if noise is None else -loss > self.best[0][1] + noise
            if not better:
                return False
        self.best = (figures, copy.deepcopy(classifier.state_dict()))
        return True

    def best_state(self) -> dict[str, Any]:
        """The best state.

        Raises:
            TrainingError: If no epoch has ended.
        """
        if self.best is None:
            raise TrainingError("no epoch ended with a usable loss")
        return self.best[1]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file with a run's progress.

    Attributes:
        path: The file; its name holds a digest of all that decides the run, so that no other run takes it up.
    """

    path: Path

    def beside(self, name: str) -> "Checkpoint":
        """A checkpoint next to this one."""
        return Checkpoint(self.path.with_name(f"{self.path.stem}-{name}.pt"))

    def save(self, classifier: SliceBagClassifier, progress: Progress) -> None:
        """Write the progress whole or not at all."""
        record = {
            "phase": progress.phase,
            "epoch": progress.epoch,
            "worse": progress.worse,
            "history": [(r.phase, r.epoch, r.train_loss, r.val_loss, r.val_auroc) for r in progress.history],
            "best": progress.best,
            "optimizer": progress.optimizer,
            "term": progress.term,
            "notes": progress.notes,
            "path": progress.path,
            "probe": progress.probe,
            "soup": progress.soup,
            "in_soup": progress.in_soup,
            "state": classifier.state_dict(),
        }
        with whole_file(self.path, mode="wb") as file:
            torch.save(record, file)

    def load(self, classifier: SliceBagClassifier) -> Progress | None:
        """Put the saved state into the classifier and return the progress; None where there is no file."""
        if not self.path.exists():
            return None
        record = torch.load(self.path, map_location="cpu", weights_only=True)
        classifier.load_state_dict(record["state"])
        return Progress(
            phase=record["phase"],
            epoch=record["epoch"],
            worse=record["worse"],
            history=[EpochRow(*row) for row in record["history"]],
            best=record["best"],
            optimizer=record["optimizer"],
            term=record.get("term"),  # files of earlier versions lack what follows
            notes=record.get("notes", []),
            path=record.get("path", []),
            probe=record.get("probe"),
            soup=record.get("soup"),
            in_soup=record.get("in_soup", 0),
        )

    def remove(self) -> None:
        """Delete the file, once its run has ended well."""
        self.path.unlink(missing_ok=True)
