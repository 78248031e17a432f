"""How many labelled scans to bring: to measure a figure as closely as wanted, and to learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

Z = NormalDist().inv_cdf(0.975)
MOST = 1_000_000
PER_DIMENSION = 10
FEWEST_PER_CLASS = 10


@dataclass(frozen=True, slots=True)
class LabelsNeeded:
    """A number of labelled scans and what it is for.

    Attributes:
        purpose: `accuracy_interval`, `auroc_interval` or `learning`.
        labels: How many, over all classes, or None.
        reason: What the number rests on, in words; or why there is none.
    """

    purpose: str
    labels: int | None
    reason: str


def for_accuracy(half_width: float, *, expected: float) -> LabelsNeeded:
    """Smallest n whose Wilson interval is no wider than wanted.

    Half-width: z sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n), z = 1.96.

    Args:
        half_width: Wanted half-width of the 95 % interval, such as 0.05.
        expected: Accuracy p that is expected, 0..1; 0.5 is the worst case.

    Source:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    n = _smallest(lambda count: wilson_half_width(expected, count), half_width)
    words = (
        f"Wilson interval of an accuracy of {expected:.2f} to within {half_width:.2f}; scans of one patient count less"
    )
    return LabelsNeeded("accuracy_interval", n, words)


def for_auroc(half_width: float, *, expected: float, positive_share: float) -> LabelsNeeded:
    """Smallest n whose Hanley-McNeil interval is no wider than wanted.

    Args:
        half_width: Wanted half-width of the 95 % interval, such as 0.05.
        expected: AUROC that is expected, 0.5..1; lower needs more.
        positive_share: Share of scans with the finding among those that will be labelled, 0..1, exclusive.

    Source:
        Hanley & McNeil 1982, The Meaning and Use of the Area under a ROC Curve, eq. 2.
    """
    share = min(max(positive_share, 1e-3), 1 - 1e-3)
    n = _smallest(lambda count: Z * hanley_mcneil(expected, share * count, (1 - share) * count), half_width)
    words = (
        f"Hanley-McNeil interval of an AUROC of {expected:.2f} to within {half_width:.2f}, {share:.0%} with the finding"
    )
    return LabelsNeeded("auroc_interval", n, words)


def for_learning(features: npt.NDArray[np.floating], *, classes: int) -> LabelsNeeded:
    """Labels after which a linear head has little left to gain, where there are none to learn the curve from.

    10 labelled scans per class and per effective dimension d = (sum of variances)^2 / sum of squared variances over
    the principal directions, at least 10 per class. A rule of thumb: a head can do well with fewer.

    Args:
        features: Of the unlabelled incoming scans, shape (n, F), n >= 3.
        classes: L, the number of classes.

    Source:
        Jain, Duin & Mao 2000, Statistical Pattern Recognition: A Review, section 3 (ten samples per class and
        feature); dimensions count by their variance (participation ratio).
    """
    d = effective_dimension(features)
    n = max(FEWEST_PER_CLASS, int(np.ceil(PER_DIMENSION * d))) * classes
    words = f"{PER_DIMENSION} scans per class for each of about {d:.0f} directions in which the incoming scans differ"
    return LabelsNeeded("learning", n, f"{words}; a rule of thumb, fewer may do")


def from_learning_curve(sizes: Sequence[int], errors: Sequence[float], *, wanted_loss: float = 0.01) -> LabelsNeeded:
    """Labels after which the error is within `wanted_loss` of where the learning curve ends.

    Fits error(n) = a + b n^-c, a in [0, 1], b >= 0, c in [0.05, 2]; then n = (b / wanted_loss)^(1 / c).

    Args:
        sizes: Numbers of labels of at least 4 cross-validated subsets, different ones, ascending.
        errors: Cross-validated error at each, such as 1 - AUROC.
        wanted_loss: How far from a.

    Source:
        Figueroa et al. 2012, Predicting Sample Size Required for Classification Performance (inverse power law).
    """
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if x.size < 4 or np.unique(x).size < 4:
        return LabelsNeeded("learning", None, f"{x.size} points of the learning curve, at least 4 are needed")
    if y[-1] >= y[0]:
        return LabelsNeeded("learning", None, "the error does not fall with more labels: more of them may not help")
    (a, b, c), _ = curve_fit(
        inverse_power, x, y, p0=(max(0.0, y.min() - 0.01), y[0] * x[0] ** 0.5, 0.5),
        bounds=([0, 0, 0.05], [1, np.inf, 2]), sigma=1 / np.sqrt(x), max_nfev=10_000,
    )  # fmt: skip
    n = min(MOST, float(np.ceil((b / wanted_loss) ** (1 / c)))) if b > 0 else x[0]
    seen = f"{int(x[0])} to {int(x[-1])} labels"
    words = f"learning curve {a:.3f} + {b:.3f} n^-{c:.2f} over {seen}, to within {wanted_loss:.2f} of its end"
    far = "; far beyond the labels at hand, so only an order of magnitude" if n > 4 * x[-1] else ""
    return LabelsNeeded("learning", int(n), words + far)


def inverse_power(n: npt.NDArray[np.float64], a: float, b: float, c: float) -> npt.NDArray[np.float64]:
    """The learning curve a + b n^-c."""
    return a + b * n**-c


def wilson_half_width(p: float, n: float) -> float:
    """Half-width z sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n) of Wilson's interval."""
    return float(Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n))


def hanley_mcneil(auroc: float, positives: float, negatives: float) -> float:
    """Standard error: sqrt((A (1 - A) + (n+ - 1)(Q1 - A^2) + (n- - 1)(Q2 - A^2)) / (n+ n-)).

    Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A).
    """
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2) + (negatives - 1) * (q2 - auroc**2)
    return float(np.sqrt(max(spread, 0) / (positives * negatives)))


def effective_dimension(features: npt.NDArray[np.floating]) -> float:
    """Participation ratio (tr S)^2 / tr S^2 of the population's covariance S; at least 1.

    The sample's own tr s^2 is too large, so that few scans would seem to differ in few directions only; unbiased for
    normal features is (n - 1)^2 / ((n + 1)(n - 2)) (tr s^2 - (tr s)^2 / (n - 1)).

    Args:
        features: (n, F), n >= 3.

    Source:
        Bai & Saranadasa 1996, Effect of High Dimension, section 3 (estimator of tr S^2).
    """
    n = len(features)
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    gram = (centred @ centred.T if n <= centred.shape[1] else centred.T @ centred) / (n - 1)
    trace = float(np.trace(gram))
    squares = (n - 1) ** 2 / ((n + 1) * (n - 2)) * (float((gram**2).sum()) - trace**2 / (n - 1))
    return max(1.0, min(trace**2 / squares, float(centred.shape[1]))) if squares > 0 else float(centred.shape[1])


def _smallest(half_width: Callable[[float], float], wanted: float) -> int | None:
    """Smallest whole n in 2..10^6 with a half-width of at most `wanted`, by bisection; None if there is none."""
    if half_width(MOST) > wanted:
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(middle) <= wanted else (middle, high)
    return high
