"""Accuracy to expect on scans without labels; `estimable` says when no such number may be given."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from pipeline.evaluate.intervals import resampled_weights
from pipeline.evaluate.predictions import Floats, Indices
from pipeline.shift.number import Number, missing, with_percentiles

RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class ExpectedAccuracy:
    """Accuracy on the incoming scans, estimated from how sure the network is.

    Attributes:
        estimable: Whether the estimates below may be given.
        reason: Why not; else empty.
        reference: Accuracy measured on the reference.
        atc_entropy: By average thresholded confidence with negative entropy.
        atc_confidence: The same with the largest probability.
        doc: By difference of confidences.
    """

    estimable: bool
    reason: str
    reference: Number
    atc_entropy: Number
    atc_confidence: Number
    doc: Number


def expected_accuracy(
    source: Floats,
    truth: npt.NDArray[np.number],
    target: Floats,
    *,
    units: tuple[Indices, Indices],
    seed: int,
    refusal: str = "",
    class_weights: Floats | None = None,
    resamples: int = RESAMPLES,
) -> ExpectedAccuracy:
    """ATC and DoC with intervals for the accuracy that labels of these incoming scans would show.

    Replicates resample patients of both sides; each gets noise of variance v (1 - v) sum n_p^2 / (sum n_p)^2, v its
    value and n_p the scans of incoming patient p: what is measured later varies even where its mean is known, as if
    scans of one patient were right or wrong together.

    Args:
        source, target: Calibrated probabilities, shape (n, L) and (m, L).
        truth: Indicators of the source, shape (n, L), one 1 in each row.
        units: The patient of each scan as 0..P-1, of both sides.
        seed: Seed of the resamples.
        refusal: What `estimability` says; where not empty, no estimate is given.
        class_weights: Ratio of target to source share of each class, shape (L,), where only the mix differs: the
            source then counts as if it had the target's mix.
        resamples: Number of resamples; the calibration is kept, so the intervals leave out its own uncertainty.

    Source:
        Garg et al. 2022, Leveraging Unlabeled Data to Predict Out-of-Distribution Performance, eq. 1-2 (ATC);
        Guillory et al. 2021, Predicting with Confidence on Unseen Distributions, section 3 (DoC).
    """
    right = (source.argmax(axis=1) == truth.argmax(axis=1)).astype(np.float64)
    weights = [_weights(unit, seed + side, resamples) for side, unit in enumerate(units)]
    plain = weights[0]
    if class_weights is not None:
        weights[0] = plain * (truth.astype(np.float64) @ class_weights)[:, None]
    reference = _number(_mean(right, plain))
    if refusal:
        none = missing(refusal)
        return ExpectedAccuracy(False, refusal, reference, none, none, none)
    found = [
        _to_be_measured(thresholded(score(source), right, score(target), weights[0], weights[1]), units[1], seed)
        for score in (negative_entropy, largest_probability)
    ]
    accuracy = _mean(right, weights[0])
    fall = _mean(largest_probability(source), weights[0]) - _mean(largest_probability(target), weights[1])
    return ExpectedAccuracy(True, "", reference, found[0], found[1], _to_be_measured(accuracy - fall, units[1], seed))


def negative_entropy(probability: Floats) -> Floats:
    """Sum over classes of p log p, shape (n,); at most 0, higher is surer."""
    return np.asarray(xlogy(probability, probability).sum(axis=1))


def largest_probability(probability: Floats) -> Floats:
    """Max over classes of p, shape (n,)."""
    return np.asarray(probability.max(axis=1))


def thresholded(source: Floats, right: Floats, target: Floats, here: Floats, there: Floats) -> Floats:
    """ATC: share of the target's scores >= t, where t makes the source's share of scores < t its error rate.

    Of the source's scores the one whose share below it is nearest to the error rate is t.

    Args:
        source, target: Scores, shape (n,) and (m,).
        right: 1 where the source's prediction is right, else 0, shape (n,).
        here, there: Weight of each scan in each of r resamples, shape (n, r) and (m, r).

    Returns:
        Shape (r,).
    """
    values, place = np.unique(source, return_inverse=True)
    mass = np.zeros((values.size + 1, here.shape[1]))
    np.add.at(mass, place + 1, here / here.sum(axis=0))
    below = mass.cumsum(axis=0)
    cut = np.abs(below - (1 - right) @ here / here.sum(axis=0)).argmin(axis=0)
    reached = np.zeros((values.size + 1, there.shape[1]))
    np.add.at(reached, np.searchsorted(values, target, side="right"), there / there.sum(axis=0))
    return np.asarray(1 - reached.cumsum(axis=0)[cut, np.arange(cut.size)])


def _weights(units: Indices, seed: int, resamples: int) -> Floats:
    """Weight of each scan: once in the first column, then in each resample of patients; shape (n, 1 + resamples)."""
    drawn = np.hstack(list(resampled_weights(int(units.max()) + 1, resamples, seed, resamples)))
    return np.hstack([np.ones((units.size, 1)), drawn[units]])


def _mean(score: Floats, weights: Floats) -> Floats:
    return np.asarray(score @ weights / weights.sum(axis=0), dtype=np.float64)


def _number(values: Floats) -> Number:
    return with_percentiles(float(values[0]), values[1:])


def _to_be_measured(values: Floats, units: Indices, seed: int) -> Number:
    """The first value with the limits of the others after the noise of measuring, all cut to 0..1."""
    scans = np.bincount(units)
    share = np.clip(values, 0, 1)
    deviation = np.sqrt(share[1:] * (1 - share[1:]) * (scans**2).sum() / scans.sum() ** 2)
    noisy = share[1:] + deviation * np.random.default_rng(seed).normal(size=deviation.size)
    return with_percentiles(float(share[0]), np.clip(noisy, 0, 1))
