"""Bias-corrected temperature scaling: probabilities honest enough for label shift to be read from them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from pipeline.errors import ShiftError
from pipeline.evaluate.predictions import Floats

LOG_TEMPERATURE = (-3.0, 3.0)
BIAS = (-10.0, 10.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature T and one bias per class: p = softmax(logits / T + b).

    Attributes:
        temperature: T > 0.
        bias: b, L values with mean 0.
    """

    temperature: float
    bias: tuple[float, ...]

    def probability(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Calibrated probabilities, shape (n, L), of logits (n, L)."""
        return np.asarray(softmax(logits.astype(np.float64) / self.temperature + np.array(self.bias), axis=1))


def fit_bcts(
    logits: npt.NDArray[np.floating],
    truth: npt.NDArray[np.number],
    *,
    weights: Floats | None = None,
    start: Calibration | None = None,
) -> Calibration:
    """T in [e^-3, e^3] and b that minimise the mean negative log-likelihood of softmax(logits / T + b).

    Args:
        logits: (n, L), of scans that the network was not trained on.
        truth: Indicators, shape (n, L), one 1 in each row.
        weights: How often each scan counts, shape (n,); once, unless given.
        start: Where the search begins, such as the fit without weights; T = 1, b = 0 unless given.

    Raises:
        ShiftError: Rows with none or several classes, or a class without a scan: its bias would have no limit.

    Source:
        Alexandari, Kundaje & Shrikumar 2020, Maximum Likelihood with Bias-Corrected Calibration, section 3 (BCTS).
    """
    z, y = logits.astype(np.float64), truth.astype(np.float64)
    count = np.ones(len(z)) if weights is None else weights
    if (y.sum(axis=1) != 1).any():
        raise ShiftError("calibration for label shift needs exactly one class per scan")
    if (count @ y == 0).any():
        raise ShiftError(f"calibration for label shift: class {int((count @ y).argmin())} has no reference scan")

    def loss(parameters: Floats) -> tuple[float, Floats]:
        inverse = np.exp(-parameters[0])
        scaled = z * inverse + parameters[1:]
        log_p = log_softmax(scaled, axis=1)
        residual = (np.exp(log_p) - y) * (count / count.sum())[:, None]
        slope = np.concatenate([[-(residual * z).sum() * inverse], residual.sum(axis=0)])
        return float(-(count / count.sum()) @ (log_p * y).sum(axis=1)), slope

    classes = z.shape[1]
    first = np.zeros(classes + 1) if start is None else np.array([np.log(start.temperature), *start.bias])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=[LOG_TEMPERATURE] + [BIAS] * classes)
    bias = found.x[1:] - found.x[1:].mean()
    return Calibration(float(np.exp(found.x[0])), tuple(float(b) for b in bias))
