"""Checks that detectors share: of what they were fitted on, and of what was stored."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from models.errors import DetectorError

ALIKE = 1e-10


def checked(
    learned: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int | None]], *, whole: Collection[str] = ()
) -> dict[str, Tensor]:
    """Stored findings as they are, if their names, shapes and kinds are the expected ones.

    Args:
        learned: What a detector's `learned` gave.
        shapes: Name to shape; None stands for any length of at least 1.
        whole: Names of those that are int64; the others are float32.

    Raises:
        DetectorError: If a name is missing or too many, a shape or kind does not fit, or a value is not finite.
    """
    if set(learned) != set(shapes):
        raise DetectorError(f"stored detector: found {sorted(learned)}, expected {sorted(shapes)}")
    for name, shape in shapes.items():
        found = learned[name]
        fits = len(found.shape) == len(shape) and all(
            have > 0 if want is None else have == want for have, want in zip(found.shape, shape, strict=True)
        )
        kind = torch.int64 if name in whole else torch.float32
        if not fits or found.dtype != kind:
            said = f"{tuple(found.shape)} of {found.dtype}"
            raise DetectorError(f"stored detector: {name} is {said}, expected {tuple(shape)} of {kind}")
        if not bool(found.isfinite().all()):
            raise DetectorError(f"stored detector: {name} holds values that are not finite")
    return dict(learned)


def check_count(found: int, needed: int, detector: str) -> None:
    """Refuse too few slices.

    Raises:
        DetectorError: If fewer are found than needed.
    """
    if found < needed:
        raise DetectorError(f"{detector} needs at least {needed} normal slices, found {found}")


def check_spread(variance: float, square: float, slices: int) -> None:
    """Refuse features that do not vary.

    Args:
        variance, square: Sum over the features of their variance, and of their mean square.
        slices: Number of slices seen.

    Raises:
        DetectorError: If the features are not finite, or the same for all slices but for rounding.
    """
    if not variance < float("inf"):  # nan is not below it either
        raise DetectorError("the backbone's features of the normal slices are not finite; are its weights damaged?")
    if variance <= ALIKE * square:
        raise DetectorError(
            f"the backbone's features of all {slices} normal slices are alike; are the slices constant?"
        )
