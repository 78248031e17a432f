"""AUCp: which detector is better, judged by normals and an unlabelled pool alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import CohortError
from pipeline.evaluate.estimates import Quantity, Statistic, estimate
from pipeline.evaluate.predictions import Floats
from pipeline.evaluate.ranking import rank_scores, ranking_areas

LEAST = 50


@dataclass(frozen=True, slots=True)
class Aucp:
    """How far a pool's scans lie above held-out normals.

    Attributes:
        value: AUCp, 0..1.
        low, high: 95 % interval, None where it cannot be had.
        reason: Why there is none; else empty.
        normals, pool: Number of scans.
    """

    value: float
    low: float | None
    high: float | None
    reason: str
    normals: int
    pool: int


def aucp(
    normals: Floats,
    pool: Floats,
    *,
    normal_patients: Sequence[str],
    pool_patients: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Aucp:
    """AUROC with held-out normals as 0 and every scan of an unlabelled pool as 1.

    If a share of the pool is abnormal and its other scans are as the held-out normals are, AUCp = 0.5 + share
    (AUROC - 0.5): detectors stand in the order of their AUROC, which needs labels, while this needs none. The
    differences are smaller by that share, and below about one anomaly in ten they drown in noise.

    It misleads where the pool's normals are not as the held-out ones: with a pool from another scanner, sites or ages,
    the best AUCp is that of the detector which sees the scanner best. Share and difference cannot be told apart from
    it, so it ranks detectors and says nothing of how good one is. Normals that the detector was fitted on score too
    low and flatter it; scans that it is tested on must not be in the pool.

    Args:
        normals: Raw scores of normals that no candidate was fitted on, shape (n,), n >= 50.
        pool: Raw scores of the pool, shape (m,), m >= 50. With 50 and 50 the standard error at 0.5 is 0.058.
        normal_patients, pool_patients: Whose scans they are; patients are resampled, whichever side they are on.
        resamples: Bootstrap resamples.
        seed: Of the resamples; the same seed gives candidates the same resamples.

    Raises:
        CohortError: If there are too few scans, or a score is not finite.

    Source:
        AUCp, IEEE Transactions on Medical Imaging 2026: choosing checkpoints of detectors without labels.
    """
    for name, scores, patients in (("held-out normals", normals, normal_patients), ("pool", pool, pool_patients)):
        if scores.ndim != 1 or scores.size < LEAST:
            raise CohortError(f"AUCp: {scores.size} scans in the {name}, at least {LEAST} are needed")
        if scores.size != len(patients):
            raise CohortError(f"AUCp: {scores.size} scores of {len(patients)} scans in the {name}")
        if not np.isfinite(scores).all():
            raise CohortError(f"AUCp: a score of the {name} is not finite")
    numbers: dict[str, int] = {}
    owner = np.array([numbers.setdefault(p, len(numbers)) for p in (*normal_patients, *pool_patients)], np.intp)
    score = np.concatenate([normals, pool])
    ranked = rank_scores(score, np.arange(score.size) >= normals.size, owner)
    statistic = Statistic((Quantity(("aucp",)),), np.unique(owner), lambda w: ranking_areas(ranked, w)[:1])
    found = estimate([statistic], patients=len(numbers), rows=score.size, resamples=resamples, seed=seed)[0]["aucp",]
    return Aucp(found["value"], found["low"], found["high"], found.get("reason", ""), normals.size, pool.size)
