"""Logistic recalibration: whether probabilities are too extreme, too timid, too high or too low."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from pipeline.evaluate.estimates import DECIMALS, Record, null
from pipeline.evaluate.intervals import LEVEL
from pipeline.evaluate.predictions import Flags, Floats, Indices

EDGE = 1e-6  # probabilities nearer to 0 or 1 are taken as this near: their logit would be infinite
LEAST = 10  # patients of each side, below which a sandwich interval is too narrow to be told
METHOD = "cluster-robust"
RECALIBRATION = ("slope", "intercept", "in_the_large")
IDEAL: Mapping[str, float] = {"slope": 1.0, "intercept": 0.0, "in_the_large": 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Coefficients of a logistic regression by maximum likelihood.

    Attributes:
        coefficients: Shape (k,).
        errors: Their cluster-robust standard errors, shape (k,).
    """

    coefficients: Floats
    errors: Floats


def recalibration(probability: Floats, positive: Flags, patient: Indices) -> dict[str, Record]:
    """Calibration slope and intercept of one class, and calibration-in-the-large, each with a clustered interval.

    logit P(y = 1) = intercept + slope logit(p): ideally 0 and 1. A slope below 1 says that probabilities are too
    extreme, above 1 too timid. logit P(y = 1) = in_the_large + logit(p): above 0, the class is more common than the
    probabilities say. Intervals: estimate -+ t_{G-1} SE, with G patients and the sandwich estimator's SE.

    Args:
        probability: Of the class, shape (n,), taken as at least 1e-6 away from 0 and 1.
        positive: Which rows have it, shape (n,).
        patient: Whose rows they are, shape (n,).

    Returns:
        `slope`, `intercept`, `in_the_large`, each `{value, low, high, method}`, or null with a reason.

    Source:
        Cox 1958, Two further applications of a model for binary regression; Van Calster et al. 2019, Calibration: the
        Achilles heel of predictive analytics.
    """
    stated = logit(np.clip(probability, EDGE, 1 - EDGE))
    missing = _missing(stated, positive)
    people = min(np.unique(patient[positive]).size, np.unique(patient[~positive]).size)
    groups = np.unique(patient, return_inverse=True)[1]
    one = np.ones_like(stated)
    line = None if missing["slope"] else logistic(np.stack([one, stated], axis=1), 0 * one, positive, groups)
    level = None if missing["in_the_large"] else logistic(one[:, None], stated, positive, groups)
    places = {"slope": (line, 1), "intercept": (line, 0), "in_the_large": (level, 0)}
    return {
        name: null(missing[name] or "the fit did not converge")
        if fit is None
        else _record(fit.coefficients[k], fit.errors[k], int(groups.max()) + 1, people)
        for name, (fit, k) in places.items()
    }


def logistic(design: Floats, offset: Floats, positive: Flags, groups: Indices) -> Fit | None:
    """Logistic regression by Newton's method, with standard errors that know that rows of a patient belong together.

    With X the design, mu = expit(offset + X b), H = X' diag(mu (1 - mu)) X and u_g = sum_{i in g} x_i (y_i - mu_i):
    Var(b) = G / (G - 1) (n - 1) / (n - k) H^-1 (sum_g u_g u_g') H^-1.

    Args:
        design: Shape (n, k).
        offset: Added to the linear predictor, shape (n,).
        positive: Outcomes, shape (n,).
        groups: Patient of each row, numbered 0..G - 1, shape (n,).

    Returns:
        The fit, or None where it does not converge.

    Source:
        Liang & Zeger 1986, Longitudinal data analysis using generalized linear models, with the small-sample factor
        that Stata and statsmodels use.
    """
    y = positive.astype(np.float64)
    found = _newton(design, offset, y)
    if found is None:
        return None
    n, k = design.shape
    mu = expit(offset + design @ found)
    hessian = _hessian(design, mu)
    number = int(groups.max()) + 1
    scores = np.zeros((number, k))
    np.add.at(scores, groups, design * (y - mu)[:, None])
    bread = np.linalg.inv(hessian)
    factor = number / max(number - 1, 1) * (n - 1) / max(n - k, 1)
    return Fit(found, np.sqrt(factor * np.diag(bread @ (scores.T @ scores) @ bread)))


def _newton(design: Floats, offset: Floats, y: Floats) -> Floats | None:
    """Coefficients of maximum likelihood; a step is halved until the likelihood does not fall."""

    def loss(b: Floats) -> float:
        z = offset + design @ b
        return float((np.logaddexp(0, z) - y * z).sum())

    b = np.zeros(design.shape[1])
    now = loss(b)
    for _ in range(100):
        mu = expit(offset + design @ b)
        gradient = design.T @ (y - mu)
        hessian = _hessian(design, mu)
        if np.linalg.cond(hessian) > 1e14:
            return None
        step = np.linalg.solve(hessian, gradient)
        if float(gradient @ step) < 1e-16 * max(1.0, now):  # squared distance to the optimum, in standard errors
            return b
        size = 1.0
        while loss(b + size * step) > now and size > 1e-6:
            size /= 2
        b = b + size * step
        now = loss(b)
    return None


def _hessian(design: Floats, mu: Floats) -> Floats:
    return np.asarray(design.T @ (design * (mu * (1 - mu))[:, None]))


def _missing(stated: Floats, positive: Flags) -> dict[str, str]:
    """Why each number does not exist, or an empty text.

    A slope exists only where the two sides overlap: else the likelihood grows without end (Albert & Anderson 1984).
    """
    side = "no positive rows" if not positive.any() else "no negative rows" if positive.all() else ""
    if side:
        return dict.fromkeys(RECALIBRATION, side)
    up, down = stated[positive], stated[~positive]
    apart = up.min() >= down.max() or down.min() >= up.max()
    alike = np.ptp(stated) == 0
    line = "every probability is the same" if alike else "the probabilities separate the class perfectly"
    return {"slope": line if apart else "", "intercept": line if apart else "", "in_the_large": ""}


def _record(value: float, error: float, groups: int, people: int) -> dict[str, Any]:
    if people < LEAST:
        reason = f"no interval: {people} patients of a side, at least {LEAST} are needed"
        return {"value": round(float(value), DECIMALS), "low": None, "high": None, "reason": reason}
    half = float(t(groups - 1).ppf((1 + LEVEL) / 2)) * float(error)
    low, high = round(float(value) - half, DECIMALS), round(float(value) + half, DECIMALS)
    return {"value": round(float(value), DECIMALS), "low": low, "high": high, "method": METHOD}
