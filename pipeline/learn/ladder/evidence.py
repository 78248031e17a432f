"""What the target says of a rung: with labels by AUROC, without by how far its parts agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from torch import Tensor

from pipeline.config import Task
from pipeline.evaluate.intervals import resampled_weights
from pipeline.shift.domain import patient_codes

RESAMPLES = 1000
ONE_SIDED = 0.05
LEVEL = 0.95

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """A statistic of a rung and the same on resamples of patients, so that two rungs can be compared in pairs.

    Attributes:
        name: `AUROC` on labelled target scans, or `agreement` on unlabelled ones.
        value: The statistic.
        replicates: On each resample; NaN where a resample lacks a class.
    """

    name: str
    value: float
    replicates: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """Percentile interval, 95 %."""
        low, high = np.nanquantile(self.replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def beyond(self, other: "Evidence") -> tuple[float, float]:
        """How much higher this one is, and the lower 95 % limit of that (one-sided), resample by resample."""
        difference = self.replicates - other.replicates
        return self.value - other.value, float(np.nanquantile(difference, ONE_SIDED))

    def below(self, other: "Evidence") -> bool:
        """Whether this one is lower beyond noise."""
        return float(np.nanquantile(self.replicates - other.replicates, 1 - ONE_SIDED)) < 0


def auroc_evidence(logits: Tensor, targets: Tensor, patients: Sequence[str], *, task: Task, seed: int) -> Evidence:
    """Macro AUROC (one versus rest, classes that all or no scans have left out) on resampled patients.

    With w the number of times a scan's patient was drawn, AUROC_c = sum_ij w_i w_j M_ij / (sum_i w_i sum_j w_j), over
    positives i and negatives j, M_ij = 1 where i's margin (`class_margins`) is higher, 1/2 where equal.

    Args:
        logits: (n, L), held out.
        targets: Indicators (n, L).
        patients: n identities.
    """
    units, truth = patient_codes(patients), targets.numpy() > 0
    margins = class_margins(logits.double().numpy(), task)
    weights = _weights(units, seed)
    values, replicates = [], []
    for c in range(truth.shape[1]):
        positive, negative = np.flatnonzero(truth[:, c]), np.flatnonzero(~truth[:, c])
        if not len(positive) or not len(negative):
            continue
        gap = margins[positive, c][:, None] - margins[negative, c][None]
        wins = (gap > 0) + 0.5 * (gap == 0)
        values.append(wins.mean())
        w_p, w_n = weights[positive], weights[negative]
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates.append(np.einsum("ib,ib->b", w_p, wins @ w_n) / (w_p.sum(axis=0) * w_n.sum(axis=0)))
    return Evidence("AUROC", float(np.mean(values)), np.mean(replicates, axis=0))


def class_margins(logits: Floats, task: Task) -> Floats:
    """What ranks scans by each class, (n, L): its log-odds.

    multiclass: the class's logit less the log-sum-exp of the others', so that a shift of all logits does not matter.
    multilabel: the finding's own logit.
    """
    if task == "multilabel":
        return logits
    columns = []
    for c in range(logits.shape[1]):
        others = np.delete(logits, c, axis=1)
        columns.append(logits[:, c] - np.logaddexp.reduce(others, axis=1))
    return np.stack(columns, axis=1)


def agreement_evidence(views: Sequence[Tensor], patients: Sequence[str], *, task: Task, seed: int) -> Evidence:
    """Mean Spearman correlation of the views' class margins over pairs of views and classes.

    Views are heads fitted on the same labels from different features. Where labels carry over, features that have
    little else in common rank the scans alike; where they do not, each follows its own accident. That disagreement
    tracks error is an observation (Jiang et al. 2022, Assessing Generalization of SGD via Disagreement; Baek et al.
    2022, Agreement-on-the-Line), not a theorem: all views may be wrong together, and no label-free number rules it out.

    On resamples the ranks stay those of all scans.

    Args:
        views: Logits (n, L) each, at least 2.
        patients: n identities.
    """
    weights = _weights(patient_codes(patients), seed)
    ones = np.ones((len(patients), 1))
    values, replicates = [], []
    margins = [class_margins(view.double().numpy(), task) for view in views]
    classes = margins[0].shape[1]
    for c in range(1 if classes == 2 and task != "multilabel" else classes):  # of two, one is the other turned round
        ranks = [rankdata(margin[:, c]) for margin in margins]
        for i in range(len(ranks)):
            for j in range(i):
                values.append(_correlation(ranks[i], ranks[j], ones)[0])
                replicates.append(_correlation(ranks[i], ranks[j], weights))
    return Evidence("agreement", float(np.mean(values)), np.mean(replicates, axis=0))


def _correlation(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Weighted correlation for each column of weights (n, B); 0 where a side is constant."""
    total = weights.sum(axis=0)
    mean = [(side @ weights) / total for side in (first, second)]
    both = (first * second) @ weights / total - mean[0] * mean[1]
    spread = [(side**2) @ weights / total - m**2 for side, m in zip((first, second), mean, strict=True)]
    scale = np.sqrt(np.clip(spread[0], 0, None) * np.clip(spread[1], 0, None))
    found: Floats = np.divide(both, scale, out=np.zeros_like(both), where=scale > 1e-9)
    return found


def _weights(units: npt.NDArray[np.intp], seed: int) -> Floats:
    """How often each scan's patient was drawn, (n, RESAMPLES)."""
    count = int(units.max()) + 1
    drawn = np.concatenate(list(resampled_weights(count, RESAMPLES, seed, RESAMPLES)), axis=1)
    found: Floats = drawn[units]
    return found
