"""What of a model's AUROC hangs on the border of its images, where markers, text and shutters are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.detect.slices import Slices
from pipeline.evaluate.estimates import Quantity, Statistic, estimate
from pipeline.evaluate.predictions import Flags, Floats, Indices
from pipeline.evaluate.ranking import rank_scores, ranking_areas

SHARE = 0.1
CHUNK = 16
Score = Callable[[Sequence[Slices]], Floats]


def border_width(size: int, share: float = SHARE) -> int:
    """Width in pixels of a border that takes a share of the side at each edge, at least 1."""
    return max(1, round(share * size))


def without_border(slices: Slices, width: int) -> Slices:
    """Slices whose border says nothing: it holds the local mean of the inside, carried outwards.

    A border pixel gets the mean of the inside's pixels that are at most `width` away, in rows and columns, from the
    inside pixel nearest to it. No value of the border is kept, so that what differs afterwards was known from there.

    Args:
        slices: (N, C, S, S).
        width: Of the border in pixels, below S / 2.
    """
    inside = torch.from_numpy(slices[..., width:-width, width:-width].astype(np.float32))
    means = functional.avg_pool2d(inside, 2 * width + 1, stride=1, padding=width, count_include_pad=False)
    found = functional.pad(means, (width,) * 4, mode="replicate").round().numpy().astype(np.uint16)
    found[..., width:-width, width:-width] = slices[..., width:-width, width:-width]
    return np.asarray(found)


def border_alone(slices: Slices, width: int, level: int) -> Slices:
    """Slices whose inside says nothing: one grey level, the same for all scans.

    Were it the mean of each scan's own border, a marker would be carried to where a model looks that never saw it.

    Args:
        slices: (N, C, S, S).
        width: Of the border in pixels, below S / 2.
        level: 0..65535.
    """
    found = slices.copy()
    found[..., width:-width, width:-width] = level
    return found


def border_ablation(
    score: Score,
    load: Callable[[int], Slices],
    intact: Floats,
    truth: Flags,
    patient: Indices,
    *,
    seed: int = 0,
    resamples: int = 2000,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Macro AUROC of a model on whole images, without their border, and on the border alone.

    Without: see `without_border`. Alone: the inside has the mean level of the insides of all scans.

    Args:
        score: Prepared scans (N, C, S, S) each to scores (m, K), larger for a column's class; a detector has one.
        load: The n-th prepared scan; scans are read, changed and scored 16 at a time, twice over.
        intact: Scores of the whole images, (n, K).
        truth: Which scans have the class of each column, (n, K).
        patient: Whose scan each is, as a number from 0, (n,).
        seed, resamples: Of the bootstrap over patients, which all figures share.
        progress: Told of each scan scored, twice.

    Returns:
        `width_share`, and `intact`, `without_border`, `border_alone` and `lost` (intact less without border).
    """

    def passed(change: Callable[[Slices, int], Slices]) -> Floats:
        parts = []
        for start in range(0, len(intact), CHUNK):
            scans = [load(n) for n in range(start, min(start + CHUNK, len(intact)))]
            parts.append(score([change(scan, border_width(scan.shape[-1])) for scan in scans]))
            if progress:
                progress(len(scans))
        return np.concatenate(parts)

    means: list[float] = []

    def blank(slices: Slices, width: int) -> Slices:
        means.append(float(slices[..., width:-width, width:-width].mean()))
        return without_border(slices, width)

    blanked = passed(blank)
    level = round(sum(means) / len(means))
    alone = passed(lambda slices, width: border_alone(slices, width, level))
    statistic = _macro((intact, blanked, alone), truth, patient)
    people = int(patient.max()) + 1
    found = estimate([statistic], patients=people, rows=len(intact), resamples=resamples, seed=seed)[0]
    return {"width_share": SHARE} | {name[0]: number for name, number in found.items()}


def _macro(scores: Sequence[Floats], truth: Flags, patient: Indices) -> Statistic:
    """Mean AUROC of the columns that divide the scans, of each set of scores, and the first less the second."""
    both = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    ranked = [[rank_scores(s[:, c], truth[:, c], patient) for c in both] for s in scores]

    def compute(weights: Floats) -> Floats:
        if not both:
            return np.full((4, weights.shape[1]), np.nan)
        intact, blanked, alone = (
            np.mean([ranking_areas(column, weights)[0] for column in columns], axis=0) for columns in ranked
        )
        return np.stack([intact, blanked, alone, intact - blanked])

    missing = "no class has both positive and negative rows"
    units = min((_pairs(truth[:, c], patient) for c in both), default=0)
    names = (("intact", units), ("without_border", units), ("border_alone", units), ("lost", 0))
    quantities = tuple(Quantity((name,), missing, count) for name, count in names)
    return Statistic(quantities, np.unique(patient), compute)


def _pairs(positive: Flags, patient: Indices) -> int:
    """Disjoint pairs of a positive and a negative patient."""
    sides = (np.unique(patient[positive]).size, np.unique(patient[~positive]).size)
    return int(min(*sides, np.unique(patient).size // 2))
