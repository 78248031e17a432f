"""Has the mix of classes changed? Calibration, EM with bootstrap intervals, and a second estimator as a check."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.errors import ShiftError
from pipeline.evaluate.intervals import resampled_weights
from pipeline.evaluate.predictions import Floats
from pipeline.shift.bcts import Calibration, fit_bcts
from pipeline.shift.domain import patient_codes
from pipeline.shift.mixture import MixtureFit, mixture_fit
from pipeline.shift.number import Number, rounded, with_percentiles
from pipeline.shift.prevalence import BlackBox, Prevalence, bbse, mlls, reweighted

RESAMPLES = 200
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class LabelShift:
    """Shares of the classes on both sides. Valid only where each class looks alike on both sides.

    Attributes:
        source: Share of each class among the source's labels, L values.
        target: Estimated share of each class in the target, with 95 % intervals.
        difference: Target minus source, with 95 % intervals.
        black_box: The same by BBSE, a check; empty where the confusion cannot be inverted.
        condition: Condition number of BBSE's confusion matrix; None where it is infinite.
        calibration: What the logits were calibrated with.
        converged: Whether EM came to rest.
        mixture: Whether the target's outputs look like a mixture of the source's classes. Where they do not, the
            shares, and `detected` with them, may come from scans that look different, not from another mix.
        detected: Whether some difference is larger than noise, at 5 % over all classes.
    """

    source: tuple[float, ...]
    target: tuple[Number, ...]
    difference: tuple[Number, ...]
    black_box: tuple[float, ...]
    condition: float | None
    calibration: Calibration
    converged: bool
    mixture: MixtureFit
    detected: bool


def prevalence_shift(
    source_logits: npt.NDArray[np.floating],
    source_truth: npt.NDArray[np.number],
    target_logits: npt.NDArray[np.floating],
    *,
    seed: int,
    source_patients: Sequence[str] | None = None,
    target_patients: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> LabelShift:
    """Shares of the classes in an unlabelled target, and whether they differ from the source's.

    BCTS on the source, then EM on the target; every resample draws patients of both sides and calibrates anew.
    Detected: |difference| > z SE for a class, z = Phi^-1(1 - 0.05 / (2 tests)), SE the replicates' standard
    deviation; tests = L, or 1 where L = 2, as both then say the same.

    Args:
        source_logits, source_truth: (n, L) each, of scans that the network was not trained on; truth is one-hot.
        target_logits: (m, L).
        seed: Seed of the resamples.
        source_patients, target_patients: Pseudonyms, n and m; every scan is a patient of its own unless given.
        resamples: Number of bootstrap resamples.

    Raises:
        ShiftError: A class without a source scan, rows with several classes, an empty side, or other shapes.
    """
    _check(source_logits, source_truth, target_logits)
    truth = source_truth.astype(np.float64)
    calibration = fit_bcts(source_logits, truth)
    prior = truth.mean(axis=0)
    found = mlls(calibration.probability(target_logits), prior)
    units = (
        patient_codes(source_patients or [""] * len(truth)),
        patient_codes(target_patients or [""] * len(target_logits)),
    )
    shares = _replicates(
        (source_logits, truth, calibration), target_logits, units=units, seed=seed, resamples=resamples
    )
    sides = calibration.probability(source_logits), truth, calibration.probability(target_logits)
    second = bbse(*sides)
    gaps, difference = shares[1] - shares[0], found.share - prior
    return LabelShift(
        source=tuple(rounded(p) for p in prior),
        target=tuple(with_percentiles(v, r) for v, r in zip(found.share, shares[1].T, strict=True)),
        difference=tuple(with_percentiles(v, r) for v, r in zip(difference, gaps.T, strict=True)),
        black_box=() if second.share is None else tuple(rounded(p) for p in second.share),
        condition=rounded(second.condition) if np.isfinite(second.condition) else None,
        calibration=calibration,
        converged=found.converged,
        mixture=mixture_fit(*sides, units=units, seed=seed),
        detected=_beyond_noise(difference, gaps),
    )


def _replicates(
    source: tuple[npt.NDArray[np.floating], Floats, Calibration],
    target_logits: npt.NDArray[np.floating],
    *,
    units: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    seed: int,
    resamples: int,
) -> Floats:
    """Source and target shares of each resample, shape (2, resamples, L); resamples without a class are left out."""
    logits, truth, start = source
    drawn = [
        np.hstack(list(resampled_weights(int(unit.max()) + 1, resamples, seed + side, resamples)))[unit]
        for side, unit in enumerate(units)
    ]
    pairs = []
    for here, there in zip(drawn[0].T, drawn[1].T, strict=True):
        prior = here @ truth / here.sum()
        if (prior == 0).any():
            continue
        calibration = fit_bcts(logits, truth, weights=here, start=start)
        pairs.append((prior, mlls(calibration.probability(target_logits), prior, counts=there).share))
    if len(pairs) < resamples / 2:
        raise ShiftError("label shift: some class has so few source patients that most resamples miss it; bring more")
    return np.array(pairs).transpose(1, 0, 2)


def _beyond_noise(difference: Floats, gaps: Floats) -> bool:
    tests = 1 if difference.size == 2 else difference.size
    z = NormalDist().inv_cdf(1 - ALPHA / (2 * tests))
    return bool((np.abs(difference) > z * gaps.std(axis=0, ddof=1)).any())


def _check(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.number], target: npt.NDArray[np.floating]) -> None:
    if logits.shape != truth.shape or logits.ndim != 2 or target.ndim != 2 or logits.shape[1] != target.shape[1]:
        raise ShiftError(f"label shift: shapes {logits.shape}, {truth.shape}, {target.shape}; (n, L), (n, L), (m, L)")
    if not len(logits) or not len(target):
        raise ShiftError("label shift: both sides need scans")


__all__ = [
    "BlackBox",
    "Calibration",
    "LabelShift",
    "Prevalence",
    "bbse",
    "fit_bcts",
    "mlls",
    "prevalence_shift",
    "reweighted",
]
