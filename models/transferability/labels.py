"""Label indicators as the scores see them: which columns can be told apart at all."""

import torch
from torch import Tensor

from models.errors import ScoreInputError


def check_rows(matrix: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The two matrices in double precision, on the CPU, after checking that they belong together.

    Args:
        matrix: Features or probabilities (n, D), n >= 2.
        targets: Indicators (n, L), 0 or 1.

    Raises:
        ScoreInputError: If shapes do not fit, a value is not finite, or no label divides the rows.
    """
    if matrix.ndim != 2 or targets.ndim != 2 or len(matrix) != len(targets) or len(matrix) < 2:
        raise ScoreInputError(
            f"matrix {tuple(matrix.shape)} and targets {tuple(targets.shape)}: expected (n, D) and (n, L), n >= 2"
        )
    matrix, targets = matrix.detach().cpu().double(), targets.detach().cpu().double()
    if not bool(matrix.isfinite().all()):
        raise ScoreInputError("the matrix holds values that are not finite")
    if not len(dividing(targets)):
        raise ScoreInputError("no label divides the rows: all have it or none has")
    return matrix, targets


def dividing(targets: Tensor) -> list[int]:
    """Columns that some rows have and others have not."""
    share = targets.double().mean(dim=0)
    return [c for c in range(targets.shape[1]) if 0 < float(share[c]) < 1]


def partitions(targets: Tensor) -> list[Tensor]:
    """The divisions of the rows into classes: one for single-label rows, else one per label.

    Args:
        targets: Indicators (n, L).

    Returns:
        Class numbers, shape (n,) each: the label where every row has exactly one, otherwise 0/1 for every label that
        divides the rows.
    """
    if bool((targets.sum(dim=1) == 1).all()):
        return [targets.argmax(dim=1)]
    return [targets[:, c].to(torch.int64) for c in dividing(targets)]
