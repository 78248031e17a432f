"""Maximum mean discrepancy between two sets of patients, with a permutation test that moves whole patients."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import pairwise_distances

from pipeline.evaluate.intervals import resampled_weights
from pipeline.evaluate.predictions import Flags, Floats, Indices

PERMUTATIONS = 1000
CHUNK = 250


@dataclass(frozen=True, slots=True, eq=False)
class PatientKernel:
    """Similarities of scans, summed over patients.

    Attributes:
        sums: Sum of k over the pairs of scans of two patients, shape (P, P); the diagonal is 0.
        scans: Number of scans of each patient, shape (P,).
        first: Which patients lie on the first side, shape (P,).
    """

    sums: Floats
    scans: Floats
    first: Flags

    def discrepancy(self, first: Floats, second: Floats) -> Floats:
        """MMD^2 between two weighted sets of patients, for r pairs of sets at once.

        mean k(s, s') + mean k(t, t') - 2 mean k(s, t), where the first two means leave out pairs of scans of one
        patient: they would count as similarity of the side what is similarity of a patient.

        Args:
            first, second: Weight of each patient, shape (P, r) each.

        Returns:
            Shape (r,); unbiased, so it may be below 0.

        Source:
            Gretton et al. 2012, A Kernel Two-Sample Test, eq. 3, at one scan per patient.
        """
        ks, kt = self.sums @ first, self.sums @ second
        a, b = self.scans[:, None] * first, self.scans[:, None] * second
        na, nb = a.sum(axis=0), b.sum(axis=0)
        within_a = (first * ks).sum(axis=0) / (na**2 - (a**2).sum(axis=0))
        within_b = (second * kt).sum(axis=0) / (nb**2 - (b**2).sum(axis=0))
        return np.asarray(within_a + within_b - 2 * (first * kt).sum(axis=0) / (na * nb))

    @property
    def value(self) -> float:
        """MMD^2 between the two sides."""
        side = self.first[:, None].astype(np.float64)
        return float(self.discrepancy(side, 1 - side)[0])

    def p_value(self, *, seed: int, permutations: int = PERMUTATIONS) -> float:
        """(1 + permutations with MMD^2 at least the observed) / (1 + permutations); whole patients change sides."""
        generator = np.random.default_rng(seed)
        observed, beyond = self.value, 0
        for start in range(0, permutations, CHUNK):
            width = min(CHUNK, permutations - start)
            side = generator.permuted(np.tile(self.first, (width, 1)), axis=1).T.astype(np.float64)
            beyond += int((self.discrepancy(side, 1 - side) >= observed - 1e-12).sum())
        return (1 + beyond) / (1 + permutations)

    def resampled(self, *, seed: int, resamples: int) -> Floats:
        """MMD^2 with the patients of both sides drawn anew, shape (resamples,)."""
        draws = []
        for offset, side in enumerate((self.first, ~self.first)):
            weights = np.zeros((side.size, resamples))
            drawn = resampled_weights(int(side.sum()), resamples, seed + offset, resamples)
            weights[side] = np.hstack(list(drawn))
            draws.append(weights)
        return self.discrepancy(draws[0], draws[1])


def patient_kernel(scores: Floats, units: Indices, first: Flags) -> PatientKernel:
    """Gaussian kernel k(x, y) = exp(-|x - y|^2 / (2 s^2)), s the median distance of two scans, summed over patients.

    Args:
        scores: Where the scans of both sides lie, shape (n, D).
        units: The patient of each scan as 0..P-1, shape (n,); a patient lies on one side only.
        first: Which scans lie on the first side, shape (n,).
    """
    squares = pairwise_distances(scores, metric="sqeuclidean")
    median = float(np.median(squares[np.triu_indices(len(scores), 1)]))
    similarity = np.exp(squares / (-2 * median if median > 0 else -1.0))
    order = np.argsort(units, kind="stable")
    starts = np.unique(units[order], return_index=True)[1]
    sums = np.add.reduceat(np.add.reduceat(similarity[np.ix_(order, order)], starts, axis=0), starts, axis=1)
    np.fill_diagonal(sums, 0)
    return PatientKernel(sums, np.bincount(units).astype(np.float64), first[order][starts])
