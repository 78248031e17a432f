"""What a raw anomaly score means beside held-out normal scans: its exact conformal p-value, and its place in 0..1."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from pipeline.errors import PolicyError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TAIL = 0.5
ROUNDING = 1e-12
LARGEST = 1e100


@dataclass(frozen=True, slots=True, eq=False)
class ConformalScale:
    """Scores of normal scans that the detector was not fitted on, as steps of a distribution over new patients.

    With P patients, scan i of a patient with n_p scans weighs 1 / ((P + 1) n_p); the new scan weighs 1 / (P + 1).
    With one scan each, these are the ranks of ordinary split conformal prediction.

    Attributes:
        values: Distinct scores, shape (m,), rising, m >= 2.
        share: Weight of the normals with a score <= each of them, shape (m,), rising, within (0, 1).
        above: Patients (parts of them, where several scans are of one) with a score > each of them, shape (m,).
        spread: Distance between their quartiles, or, where these are one score, between lowest and highest; the unit of
            the tails.
        scans, patients: How many the scores are of.

    Source:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World; several scans of a patient: Dunn,
        Wasserman & Ramdas 2022, Distribution-free prediction sets for two-layer hierarchical models; Lee, Barber &
        Willett 2023, Distribution-free inference with hierarchical data.
    """

    values: Floats
    share: Floats
    above: Floats
    spread: float
    scans: int
    patients: int

    def p_value(self, score: npt.ArrayLike) -> Floats:
        """Exact conformal p-values of new scores: p(s) = (1 + sum_p #{i of p: s_i >= s} / n_p) / (P + 1).

        Over fresh draws of the normals and of a new normal patient's scan, P(p <= alpha) <= alpha for every alpha.

        Raises:
            PolicyError: If a score is not finite.
        """
        here = _finite(score, "score")
        at_least = np.concatenate([[float(self.patients)], self.above])
        return (1.0 + at_least[np.searchsorted(self.values, here, side="left")]) / (self.patients + 1)

    def abnormal(self, score: npt.ArrayLike, level: float) -> Flags:
        """Whether p(s) <= level, the decision at a false-alarm rate of at most `level`.

        Shares of patients do not add up exactly in binary numbers: p counts as the level within 1e-12.

        Raises:
            PolicyError: If there are too few patients for the level, or a score is not finite.
        """
        self.require(level)
        return np.asarray(self.p_value(score) <= level + ROUNDING)

    def limit(self, level: float) -> float:
        """The held-out score v for which a scan is abnormal at this level exactly if its score is above v.

        Raises:
            PolicyError: If there are too few patients for the level.
        """
        self.require(level)
        return float(self.values[np.argmax((1.0 + self.above) / (self.patients + 1) <= level + ROUNDING)])

    def require(self, level: float) -> None:
        """Refuse a level that no p-value of so few patients can reach.

        Raises:
            PolicyError: If P < ceil(1 / level) - 1; the message says how many are needed.
        """
        needed = patients_needed(level)
        if self.patients < needed:
            raise PolicyError(
                f"false-alarm rate {level:g}: {self.patients} held-out normal patients, at least {needed} are needed "
                f"for its guarantee; bring {needed - self.patients} more, or ask for a rate of 1/{self.patients + 1} "
                f"or more, such as {ceil(1000 / (self.patients + 1)) / 1000:g}"
            )

    def score01(self, score: npt.ArrayLike) -> Floats:
        """The contract's anomaly score: a rising map of the raw score to the open interval (0, 1).

        At a held-out normal it is its conformal rank, r / (n + 1) with one scan a patient, where r is the number of
        normals with a score <= its own (tied normals all have the highest of their ranks); in between it is linear.
        With g the rank's distance to the end, v the end's score and u the spread, beyond the highest normal it is
        1 - g (1 + (s - v) / u)^(-1/2), and below the lowest g (1 + (v - s) / u)^(-1/2): tails slow enough that scores
        which differ by a float32's last digit stay apart in float64 as far as 10^10 spreads out.

        Raises:
            PolicyError: If a score is not finite.
        """
        here = _finite(score, "score")
        v, w = self.values, self.share
        inside = np.clip(here, v[0], v[-1])
        at = np.minimum(np.searchsorted(v, inside, side="right") - 1, v.size - 2)
        steps = (inside - v[at]) / (v[at + 1] - v[at])
        within = np.where(steps < 1, np.minimum(w[at] + steps * (w[at + 1] - w[at]), w[at + 1]), w[at + 1])
        with np.errstate(over="ignore"):  # the tail of a score beyond every float is its end
            above = 1.0 - (1.0 - w[-1]) * (1.0 + np.maximum(here - v[-1], 0.0) / self.spread) ** -TAIL
            below = w[0] * (1.0 + np.maximum(v[0] - here, 0.0) / self.spread) ** -TAIL
        found = np.where(here > v[-1], above, np.where(here < v[0], below, within))
        return np.asarray(np.clip(found, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0)), np.float64)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the normals say less than their number, in words."""
        told = []
        if self.patients < self.scans:
            told.append(
                f"the {self.scans} held-out normal scans are of {self.patients} patients: each patient counts once, so "
                "a false-alarm rate is that of a scan of a new patient"
            )
        if 2 * self.values.size <= self.scans:
            told.append(
                f"the {self.scans} held-out normal scans have only {self.values.size} different scores: false alarms "
                "may be much rarer than asked for, and lesions be missed"
            )
        return tuple(told)


def patients_needed(level: float) -> int:
    """Fewest normal patients P with 1 / (P + 1) <= level: ceil(1 / level) - 1, at least 1.

    Raises:
        PolicyError: If the level is not a share.
    """
    if not 0 < level < 1:
        raise PolicyError(f"false-alarm rate {level:g}: expected a share above 0 and below 1")
    return max(1, ceil(1 / (level + ROUNDING)) - 1)


def conformal_scale(normals: npt.ArrayLike, patients: Sequence[int] | npt.NDArray[np.int64]) -> ConformalScale:
    """The scale of held-out normal scores.

    Args:
        normals: Raw scores, shape (n,).
        patients: Whose scan each is, shape (n,), as numbers.

    Raises:
        PolicyError: If there is no score, one is not finite, or all are identical.
    """
    scores = _finite(normals, "held-out normal score")
    if scores.ndim != 1 or scores.size != len(patients):
        raise PolicyError(f"{scores.size} held-out normal scores of {len(patients)} scans: expected one a scan")
    if not scores.size:
        raise PolicyError("no held-out normal scan: nothing says what is normal")
    values, weight, number = patient_steps(scores, patients)
    if values.size == 1:
        raise PolicyError(
            f"all {scores.size} held-out normal scans have the same score ({values[0]:g}): the detector tells none "
            "from another; are the images constant or all alike?"
        )
    share = np.cumsum(weight) / (number + 1)
    above = heavier(weight)
    low, high = values[np.searchsorted(share / share[-1], [0.25, 0.75])]
    spread = float(high - low) or float(values[-1] - values[0])
    return ConformalScale(values, share, above, spread, int(scores.size), number)


def patient_steps(scores: Floats, patients: Sequence[int] | npt.NDArray[np.int64]) -> tuple[Floats, Floats, int]:
    """Distinct scores, and how many patients have each: scan i of a patient with n_p scans counts 1 / n_p.

    Args:
        scores: Shape (n,), n >= 1.
        patients: Whose scan each is, shape (n,), as numbers.

    Returns:
        Scores (m,), rising; patients (parts of them) with each, shape (m,); P, the number of patients.
    """
    values, place = np.unique(scores, return_inverse=True)
    _, owner, count = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    weight = np.bincount(place, weights=1.0 / count[owner]).astype(np.float64)
    return values, weight, int(count.size)


def heavier(weight: Floats) -> Floats:
    """Weight of what lies above each step, shape (m,), from the weight of each, shape (m,)."""
    return np.append(np.cumsum(weight[:0:-1])[::-1], 0.0)


def patient_limit(scores: Floats, patients: Sequence[int] | npt.NDArray[np.int64], level: float) -> float | None:
    """The score v with p(s) > level exactly where s <= v, p as in `ConformalScale.p_value`; None where P is too small.

    With one scan a patient, v is the k-th smallest of n scores, k = ceil((n + 1) (1 - level)), and there is none
    where k > n. A new patient's scan from the same source has s <= v with a probability of at least 1 - level.

    Args:
        scores: Held-out scores, shape (n,).
        patients: Whose scan each is, shape (n,), as numbers.
        level: 0 < level < 1.
    """
    if not scores.size:
        return None
    values, weight, number = patient_steps(scores, patients)
    reached = (1.0 + heavier(weight)) / (number + 1) <= level + ROUNDING
    return float(values[np.argmax(reached)]) if reached.any() else None


def _finite(score: npt.ArrayLike, what: str) -> Floats:
    here = np.asarray(score, np.float64)
    if not (np.abs(here) <= LARGEST).all():  # false for NaN
        raise PolicyError(f"a {what} is not a number, or beyond {LARGEST:g}; expected finite scores")
    return here
