"""Where a policy cuts the scores, and what it looked at."""

from dataclasses import dataclass

import numpy as np

from pipeline.decide.conformal import Floats
from pipeline.decide.decision_scores import Integers


@dataclass(frozen=True, slots=True)
class Cut:
    """A place among scores.

    Attributes:
        value: One of the scores, or a probability.
        above: Whether a scan is abnormal only above it, rather than from it on.
        chosen_on: Which scans chose it, in words.
        notes: What to know when trusting it.
    """

    value: float
    above: bool
    chosen_on: str
    notes: tuple[str, ...] = ()


def counted(name: str, scores: Floats, patients: Integers) -> str:
    """Scans in words, such as `40 normal scans of 30 patients`."""
    return f"{scores.size} {name} scans of {np.unique(patients).size} patients"
