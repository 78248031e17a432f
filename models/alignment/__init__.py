"""Bringing features of source and target together, one method a file: losses in training, operations after it."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from models.alignment.adabn import adabn, feature_statistics
from models.alignment.coral import Coral
from models.alignment.dann import DomainAdversary
from models.alignment.loss import MakeLoss
from models.alignment.mcc import ClassConfusion
from models.alignment.mmd import MultiKernelMMD
from models.classifier import SliceBagClassifier


class Operation(Protocol):
    """Changes a trained classifier's statistics by slices of the target; no weight changes."""

    def __call__(self, classifier: SliceBagClassifier, batches: Iterable[Tensor], *, share: float = 1.0) -> None:
        """Work through batches of slices (M, 1 or 3, H, W) in [0, 1]."""


LOSSES: dict[str, MakeLoss] = {
    "coral": Coral,  # Sun & Saenko 2016
    "dan": MultiKernelMMD,  # Long et al. 2015
    "dann": DomainAdversary,  # Ganin et al. 2016
    "mcc": ClassConfusion,  # Jin et al. 2020
}
OPERATIONS: dict[str, Operation] = {
    "adabn": adabn,  # Li et al. 2017
    "feature_statistics": feature_statistics,  # the same for networks without batch norm
}
ALIGNMENTS: dict[str, MakeLoss | Operation] = {**LOSSES, **OPERATIONS}
