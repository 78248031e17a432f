"""AUROC with its variance from the scans' placements: of one model, and of two on the same scans.

Scans of one patient belong together: the variance is that of sums over patients (Obuchowski 1997). Where every patient
has one scan, this is DeLong's (1988) exactly. What cannot be told has a reason in place of numbers.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtr, stdtr, stdtrit
from scipy.stats import rankdata

from pipeline.errors import CohortError
from pipeline.evaluate.intervals import LEVEL, Z
from pipeline.evaluate.predictions import Flags, Floats, Indices

ROUNDING = 1e-12  # what rounding leaves of a deviation that is zero is below this
Scale = Literal["plain", "logit", "logit_t"]


@dataclass(frozen=True, slots=True)
class AurocEstimate:
    """One AUROC with its interval.

    Attributes:
        value: 0..1, or None.
        variance: Of the value, above 0, or None.
        low, high: 95 % limits, or None.
        p_value: Two-sided, of the test that it is 0.5, on the interval's scale: below 0.05 where that leaves 0.5 out.
        reason: Why there is no value or no interval; else empty.
    """

    value: float | None
    variance: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Whether the second model ranks the same scans better than the first.

    Attributes:
        difference: Second minus first AUROC, -1..1, or None.
        low, high: 95 % limits of the difference, or None.
        z: difference / sqrt(variance), or None.
        p_value: Two-sided, or None.
        reason: Why there is no difference or no test; else empty.
    """

    difference: float | None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    p_value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Deviations:
    """AUROC of K models, and each patient's part in their errors.

    Attributes:
        auroc: Shape (K,).
        up: Each patient's sum of V10 - AUROC over positive scans, shape (K, P).
        down: Each patient's sum of V01 - AUROC over negative scans, shape (K, P).
        patients: I10, I01 and I: how many patients have positive, negative and any scans.
        scans: M and N: how many scans are positive and negative.
    """

    auroc: Floats
    up: Floats
    down: Floats
    patients: tuple[int, int, int]
    scans: tuple[int, int]

    def covariance(self, contrast: Floats) -> Floats:
        """Covariance of contrast @ auroc, shape (C, C), for a contrast of shape (C, K)."""
        of_up, of_down, of_both = (count / (count - 1) for count in self.patients)
        a, b = contrast @ self.up / self.scans[0], contrast @ self.down / self.scans[1]
        crossed = a @ b.T
        return np.asarray(of_up * a @ a.T + of_down * b @ b.T + of_both * (crossed + crossed.T))

    def no_spread(self, contrast: Floats) -> bool:
        """Whether the variance of contrast @ auroc is zero, by which it says nothing of the doubt there is.

        It is never below zero: I10, I01 <= I, so it is at least I / (I - 1) times the sum of (a + b)^2.
        """
        a, b = contrast @ self.up, contrast @ self.down
        if max(np.abs(a).max(), np.abs(b).max()) < ROUNDING:
            return True
        apart = ((a / self.scans[0]) ** 2).sum() + ((b / self.scans[1]) ** 2).sum()
        return bool(self.covariance(contrast)[0, 0] < ROUNDING * apart)


def placements(scores: Floats, positive: Flags) -> tuple[Floats, Floats]:
    """Where each scan stands among those of the other side; ties count half.

    Of a positive scan, the share of negative ones that score lower, V10 = (T_all - T_positive) / N; of a negative scan,
    the share of positive ones that score higher, V01 = 1 - (T_all - T_negative) / M, with T the midranks among all
    scans and among those of its own side. The mean of either is the AUROC.

    Args:
        scores: Scores of K models, shape (K, n); higher means more likely positive.
        positive: Which scans are positive, shape (n,): M of them, N are not; M, N >= 1.

    Returns:
        V10 of shape (K, M) and V01 of shape (K, N).

    Source:
        DeLong, DeLong & Clarke-Pearson 1988, eq. 3 and 4; midranks as in Sun & Xu 2014.
    """
    everyone = rankdata(scores, axis=1)
    ups, downs = scores[:, positive], scores[:, ~positive]
    above = (everyone[:, positive] - rankdata(ups, axis=1)) / downs.shape[1]
    below = 1 - (everyone[:, ~positive] - rankdata(downs, axis=1)) / ups.shape[1]
    return np.asarray(above), np.asarray(below)


def auroc_covariance(scores: Floats, positive: Flags, patient: npt.ArrayLike | None = None) -> tuple[Floats, Floats]:
    """AUROC of K models on the same scans and its covariance, with scans clustered by patient.

    With m_i positive and n_i negative scans of patient i, V10_i and V01_i the sums of their placements, A the AUROC:
    a_i = (V10_i - m_i A) / M, b_i = (V01_i - n_i A) / N;
    cov = I10 / (I10 - 1) sum a a' + I01 / (I01 - 1) sum b b' + I / (I - 1) sum (a b' + b a'),
    with I10, I01 and I the numbers of patients with positive, negative and any scans. One scan each: DeLong's.

    Args:
        scores: Shape (K, n); higher means more likely positive.
        positive: Which scans are positive, shape (n,).
        patient: Patient of each scan, shape (n,); None where each scan is of another patient.

    Returns:
        AUROC of shape (K,) and covariance of shape (K, K).

    Raises:
        CohortError: If a side is empty or rests on one patient, or a score is not a number.

    Source:
        Obuchowski 1997, Nonparametric Analysis of Clustered ROC Curve Data, Biometrics 53, 567-578.
    """
    scores, owner = np.atleast_2d(scores), _owner(positive, patient)
    reason = _no_auroc(scores, positive) or _one_patient(positive, owner)
    if reason:
        raise CohortError(f"covariance of AUROCs: {reason}")
    found = _deviations(scores, positive, owner)
    return found.auroc, found.covariance(np.eye(found.auroc.size))


def auroc_interval(
    score: Floats, positive: Flags, patient: npt.ArrayLike | None = None, *, scale: Scale = "logit_t"
) -> AurocEstimate:
    """AUROC A of one model with its 95 % interval.

    plain: A -+ 1.96 s; logit: the limits of log(A / (1 - A)) -+ 1.96 s / (A (1 - A)), turned back, which stay within
    0..1 and follow the skew that A has near 1; logit_t: the same with Student's t in place of 1.96, min(I10, I01) - 1
    degrees of freedom, as s is not known but estimated from few patients (benchmarks/intervals.py: covers better than
    either with 60 patients). s^2 and I10, I01 are `auroc_covariance`'s. The test that A is 0.5 has z = (A - 0.5) / s,
    or on the logit scale log(A / (1 - A)) A (1 - A) / s, and the same distribution as the limits.

    Args:
        score: Shape (n,); higher means more likely positive.
        positive: Which scans are positive, shape (n,).
        patient: Patient of each scan, shape (n,); None where each scan is of another patient.
        scale: On which scale the estimate is taken for normal.

    Returns:
        Without a value where one side is empty; without an interval where a side rests on one patient, or the variance
        is zero, as where every positive scan scores above every negative one.
    """
    scores, owner = np.asarray(score, np.float64)[None], _owner(positive, patient)
    reason = _no_auroc(scores, positive)
    if reason:
        return AurocEstimate(None, reason=reason)
    found, one = _deviations(scores, positive, owner), np.ones((1, 1))
    value = float(found.auroc[0])
    reason = _one_patient(positive, owner)
    if not reason and found.no_spread(one):
        apart = value in (0, 1)
        why = "positive and negative rows do not overlap" if apart else "no patient differs from the rest"
        reason = f"its variance is estimated as zero: {why}"
    if reason:
        return AurocEstimate(value, reason=reason)
    variance = float(found.covariance(one)[0, 0])
    error, degrees = sqrt(variance), min(found.patients) - 1 if scale == "logit_t" else inf
    half = error * (Z if scale != "logit_t" else float(stdtrit(degrees, (1 + LEVEL) / 2)))
    if scale == "plain":
        return AurocEstimate(value, variance, value - half, value + half, _two_sided((value - 0.5) / error, degrees))
    slope = value * (1 - value)  # of A by its logit
    low, high = expit(logit(value) + np.array([-1, 1]) * half / slope)
    p = _two_sided(float(logit(value)) * slope / error, degrees)
    return AurocEstimate(value, variance, float(low), float(high), p)


def paired_test(first: Floats, second: Floats, positive: Flags, patient: npt.ArrayLike | None = None) -> PairedTest:
    """Difference of two AUROCs on the same scans, its 95 % interval, and the two-sided test that it is zero.

    z = (A2 - A1) / s, s^2 = var(A1) + var(A2) - 2 cov(A1, A2); p = 2 (1 - Phi(|z|)); limits A2 - A1 -+ 1.96 s.

    Args:
        first, second: Scores of the two models, shape (n,) each.
        positive: Which scans are positive, shape (n,).
        patient: Patient of each scan, shape (n,); None where each scan is of another patient.

    Source:
        DeLong, DeLong & Clarke-Pearson 1988; Obuchowski 1997 where patients repeat.
    """
    scores, owner = np.stack([first, second]).astype(np.float64), _owner(positive, patient)
    reason = _no_auroc(scores, positive)
    if reason:
        return PairedTest(None, reason=reason)
    found, contrast = _deviations(scores, positive, owner), np.array([[-1.0, 1.0]])
    difference = float(found.auroc[1] - found.auroc[0])
    reason = _one_patient(positive, owner)
    if not reason and found.no_spread(contrast):
        apart = abs(difference) > ROUNDING
        reason = "its variance is estimated as zero" if apart else "both models rank the rows alike"
    if reason:
        return PairedTest(difference, reason=reason)
    error = sqrt(float(found.covariance(contrast)[0, 0]))
    z = difference / error
    return PairedTest(difference, difference - Z * error, difference + Z * error, z, float(2 * ndtr(-abs(z))))


def _two_sided(z: float, degrees: float) -> float:
    """Of Student's t, which is normal for infinite degrees of freedom."""
    return float(2 * stdtr(degrees, -abs(z)))


def _deviations(scores: Floats, positive: Flags, owner: Indices) -> _Deviations:
    above, below = placements(scores, positive)
    auroc = above.mean(axis=1)
    up, down = (
        np.array([np.bincount(who, weights=row, minlength=owner.max() + 1) for row in part - auroc[:, None]], float)
        for part, who in ((above, owner[positive]), (below, owner[~positive]))
    )
    counts = [np.unique(owner[side]).size for side in (positive, ~positive, np.ones_like(positive))]
    return _Deviations(auroc, up, down, (counts[0], counts[1], counts[2]), (above.shape[1], below.shape[1]))


def _owner(positive: Flags, patient: npt.ArrayLike | None) -> Indices:
    """Each scan's patient as a number from 0, shape (n,)."""
    return np.arange(positive.size) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]


def _no_auroc(scores: Floats, positive: Flags) -> str:
    if np.isnan(scores).any():
        return "a score is not a number"
    return "no positive rows" if not positive.any() else "no negative rows" if positive.all() else ""


def _one_patient(positive: Flags, owner: Indices) -> str:
    alone = [side for side in (positive, ~positive) if np.unique(owner[side]).size < 2]
    return "it rests on a single patient" if alone else ""
