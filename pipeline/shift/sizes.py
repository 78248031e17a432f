"""Sizes of a shift, each beside what chance gives between two parts of the reference."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.predictions import Floats, Indices
from pipeline.shift.domain import Domain
from pipeline.shift.embedding import principal_components
from pipeline.shift.frechet import frechet_distance
from pipeline.shift.kernel import PatientKernel, patient_kernel
from pipeline.shift.number import Number, missing, rounded, with_percentiles
from pipeline.shift.separability import separability

DRAWS = 20
RESAMPLES = 500
FEWEST = 10
NAMES = ("mmd2", "frechet", "c2st_auc", "proxy_a_distance")


@dataclass(frozen=True, slots=True)
class Null:
    """What chance gives: the same size between two random parts of the reference, whole patients each.

    Attributes:
        mean: Over the draws, or None.
        low, high: Their central 95 %, or None.
        draws: How often the reference was parted.
        reason: Why there is none; else empty.
    """

    mean: float | None
    low: float | None
    high: float | None
    draws: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """One size of the shift and its scale.

    Attributes:
        value, low, high: The size and its 95 % interval, or None.
        reason: Why value or limits are missing; else empty.
        null: What chance gives.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str
    null: Null


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the shift is, in four ways.

    Attributes:
        mmd2: Squared maximum mean discrepancy on 32 principal directions; 0 means alike.
        frechet: Frechet distance on the same directions, in squared units of the features; read it beside its null.
        c2st_auc: AUROC of telling the sides apart; 0.5 means alike, 1 told apart without error.
        proxy_a_distance: From 0 (alike) to 2.
    """

    mmd2: Size
    frechet: Size
    c2st_auc: Size
    proxy_a_distance: Size


def measure_sizes(
    reference: Domain, incoming: Domain, kernel: PatientKernel, *, seed: int, draws: int = DRAWS
) -> Sizes:
    """The four sizes with intervals where resampling patients gives honest ones, and their nulls.

    Args:
        reference, incoming: Two sides of at least two patients each.
        kernel: Of both, as `feature_test` returns it.
        seed: Seed of resamples, folds and parts.
        draws: How often the reference is parted for the null.
    """
    scores = principal_components(np.concatenate([reference.features, incoming.features]))
    apart = separability(reference, incoming, seed=seed)
    found = (
        with_percentiles(kernel.value, kernel.resampled(seed=seed, resamples=RESAMPLES)),
        Number(
            rounded(frechet_distance(scores[: reference.n], scores[reference.n :])),
            reason="no interval: resampled scans repeat, which inflates it; compare it with the null",
        ),
        apart.auroc,
        apart.proxy_a_distance,
    )
    nulls = same_site_nulls(reference, incoming.n, seed=seed, draws=draws)
    sizes = {
        name: Size(number.value, number.low, number.high, number.reason, null)
        for name, number, null in zip(NAMES, found, nulls, strict=True)
    }
    return Sizes(**sizes)


def same_site_nulls(reference: Domain, size: int, *, seed: int, draws: int = DRAWS) -> tuple[Null, ...]:
    """The four sizes between random parts of the reference; the smaller part has about `size` scans, at most half.

    Parts as large as the real sides matter: the Frechet distance of two samples of one population grows as they
    shrink, and so does the spread of all four.
    """
    wanted = min(size, reference.n // 2)
    if wanted < FEWEST or reference.n_patients < 2 * FEWEST:
        reason = f"the reference has {reference.n} scans of {reference.n_patients} patients, too few to part in two"
        return (Null(None, None, None, 0, reason),) * len(NAMES)
    scores = principal_components(reference.features)
    rows = []
    for draw in range(draws):
        first, second = split_patients(reference.units, wanted, np.random.default_rng([seed, draw]))
        rows.append(_between_parts(reference, scores, first, second, seed=seed + draw))
    return tuple(_null(column) for column in np.array(rows).T)


def split_patients(units: Indices, size: int, generator: np.random.Generator) -> tuple[Indices, Indices]:
    """Rows of two parts of whole patients: the second has the first so many patients that reach `size` scans."""
    order = generator.permutation(int(units.max()) + 1)
    scans = np.bincount(units)[order]
    chosen = order[: max(2, int(np.searchsorted(scans.cumsum(), size)) + 1)]
    inside = np.isin(units, chosen)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def _between_parts(
    reference: Domain, scores: Floats, first: Indices, second: Indices, *, seed: int
) -> tuple[float, float, float, float]:
    sides = np.zeros(reference.n, dtype=np.bool_)
    sides[first] = True
    kernel = patient_kernel(scores, reference.units, sides)
    apart = separability(reference.take(first), reference.take(second), seed=seed, intervals=False)
    distance = frechet_distance(scores[first], scores[second])
    return kernel.value, distance, apart.auroc.value or 0.0, apart.proxy_a_distance.value or 0.0


def _null(values: Floats) -> Null:
    low, high = np.quantile(values, [0.025, 0.975])
    return Null(rounded(values.mean()), rounded(low), rounded(high), values.size)


def no_sizes(reason: str) -> Sizes:
    """Four sizes that cannot be given."""
    empty = missing(reason)
    size = Size(empty.value, empty.low, empty.high, reason, Null(None, None, None, 0, reason))
    return Sizes(size, size, size, size)
