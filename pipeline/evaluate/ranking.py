"""What a ranking of scans is worth, under any weighting of the patients: areas, and points of the ROC curve.

The scores are sorted once. What is left for a weighting are sums of patient weights between the scores of positive
rows, one sparse product for many weightings at once, and running sums over these, which are few where a class is rare.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.evaluate.predictions import Flags, Floats, Indices

SHARES = (0.90, 0.95)
SENSITIVITY_AT = tuple(f"sensitivity_at_{100 * share:.0f}_specificity" for share in SHARES)
SPECIFICITY_AT = tuple(f"specificity_at_{100 * share:.0f}_sensitivity" for share in SHARES)
FIXED = (*SENSITIVITY_AT, *SPECIFICITY_AT)
AT_SPECIFICITY = SENSITIVITY_AT[1]
SLACK = 1e-9  # weights are whole numbers, their products with a share are not quite


@dataclass(frozen=True, slots=True, eq=False)
class RankedScores:
    """Rows of one class in ascending order of score, cut into steps at the U distinct scores of its positive rows.

    Attributes:
        steps: U.
        sums: Shape (2 U + 1 + T, P), so that sums @ weights are the weights of: positive rows at each step; negative
            rows below the first step, between two steps, and above the last; negative rows at each of T steps.
        tied: Those steps, ascending, shape (T,).
    """

    steps: int
    sums: sparse.csr_array
    tied: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Weights of rows at each step, for r weightings.

    Attributes:
        at: Positive rows whose score is the step's, shape (U, r).
        found: Positive rows that score at least as high, shape (U, r).
        below: Negative rows that score lower, shape (U, r).
        tied: Steps at which negative rows score the same, shape (T,).
        ties: Those rows, shape (T, r).
        positive, negative: All rows of a side, shape (r,).
    """

    at: Floats
    found: Floats
    below: Floats
    tied: Indices
    ties: Floats
    positive: Floats
    negative: Floats


def rank_scores(score: Floats, positive: Flags, patient: Indices) -> RankedScores:
    """Sort once what `ranking` sums up for every weighting; all arguments have shape (n,)."""
    ups, downs = score[positive], score[~positive]
    steps, step = np.unique(ups, return_inverse=True)
    gap, after = (np.searchsorted(steps, downs, side=side) for side in ("left", "right"))
    same = after > gap
    tied, tie = np.unique(gap[same], return_inverse=True)
    count = steps.size
    row = np.concatenate([step, count + gap[~same], 2 * count + 1 + tie])
    who = np.concatenate([patient[positive], patient[~positive][~same], patient[~positive][same]])
    shape = (2 * count + 1 + tied.size, int(patient.max(initial=-1)) + 1)
    sums = sparse.csr_array(sparse.coo_array((np.ones(row.size), (row, who)), shape=shape))
    return RankedScores(count, sums, tied)


def ranking(ranked: RankedScores, weights: Floats) -> Ranking:
    """Sums of patient weights, shape (P, r), along the sorted scores."""
    count = ranked.steps
    rows = ranked.sums @ weights[: ranked.sums.shape[1]]
    at, between, ties = rows[:count], rows[count : 2 * count + 1], rows[2 * count + 1 :]
    between[ranked.tied + 1] += ties
    lower = np.cumsum(between, axis=0, out=between)
    found = np.cumsum(at[::-1], axis=0)[::-1]
    positive = found[0] if count else np.zeros(weights.shape[1])
    return Ranking(at, found, lower[:count], ranked.tied, ties, positive, lower[-1])


def areas(r: Ranking) -> Floats:
    """Weighted AUROC and average precision; ties count exactly.

    With w_u the weight of the positive rows at step u, W+ and W- the weights of all positive and negative rows:
    AUROC = sum_u w_u (L_u + T_u / 2) / (W+ W-), with L_u and T_u the weights of negatives scoring lower and the same;
    AUPRC = sum_u w_u precision_u / W+, precision_u over all rows that score at least as high as step u.

    Returns:
        Shape (2, r): AUROC and AUPRC, NaN where the positive or negative rows weigh nothing.

    Source:
        Hanley & McNeil 1982; average precision without interpolation, as scikit-learn defines it.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        called = np.maximum(r.found + r.negative - r.below, np.finfo(np.float64).tiny)
        auprc = np.einsum("ij,ij->j", r.at, np.divide(r.found, called, out=called)) / r.positive
        wins = np.einsum("ij,ij->j", r.at, r.below) + np.einsum("ij,ij->j", r.at[r.tied], r.ties) / 2
        return _where_both(r, np.stack([wins / (r.positive * r.negative), auprc]))


def fixed_points(r: Ranking) -> Floats:
    """`FIXED`: sensitivity at a specificity of at least 0.90 and 0.95, and the reverse; each the best of any threshold.

    Over thresholds t at the positives' scores, and above all of them: max of W+(score >= t) / W+ where
    W-(score >= t) / W- <= 1 - specificity; max of W-(score < t) / W- where W+(score >= t) / W+ >= sensitivity.

    Returns:
        Shape (4, r), NaN where the positive or negative rows weigh nothing.
    """
    column = np.arange(r.positive.size)
    found = np.vstack([r.found, np.zeros((1, column.size))])  # nobody is called above the last step
    best = []
    for share in SHARES:  # fewer are called from step to step
        too_many = (r.negative - r.below > (1 - share) * r.negative + SLACK).sum(axis=0)
        best.append(found[too_many, column])
    for share in SHARES:
        enough = (r.found >= share * r.positive - SLACK).sum(axis=0)
        best.append(r.below[enough - 1, column] if r.below.size else np.zeros(column.size))
    sides = np.repeat(np.stack([r.positive, r.negative]), len(SHARES), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _where_both(r, np.stack(best) / sides)


def ranking_areas(ranked: RankedScores, weights: Floats) -> Floats:
    """`areas` of one class for patient weights of shape (P, r)."""
    return areas(ranking(ranked, weights))


def _where_both(r: Ranking, values: Floats) -> Floats:
    values[:, (r.positive == 0) | (r.negative == 0)] = np.nan
    return values
