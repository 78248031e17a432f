"""Share of each class among unlabelled scans, where only the mix of classes differs from the reference."""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.predictions import Floats

TOLERANCE = 1e-6
MAX_STEPS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Prevalence:
    """Shares of classes found by EM.

    Attributes:
        share: Shape (L,), sums to 1.
        steps: EM steps taken.
        converged: Whether the last step moved every share by less than the tolerance.
    """

    share: Floats
    steps: int
    converged: bool


@dataclass(frozen=True, slots=True, eq=False)
class BlackBox:
    """Shares of classes found by inverting the confusion of the reference.

    Attributes:
        share: Shape (L,), sums to 1, or None where the confusion cannot be inverted.
        weights: Ratio of target to reference share, clipped at 0, shape (L,), or None.
        condition: Condition number of the joint confusion matrix; far above 100 the shares mean little.
    """

    share: Floats | None
    weights: Floats | None
    condition: float


def mlls(
    probability: Floats,
    source_prior: Floats,
    *,
    counts: Floats | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Prevalence:
    """Maximum-likelihood shares q by EM, starting from the source's.

    Each step: posterior_ic = p_ic q_c / s_c, divided by its sum over c; q_c = mean of posterior_ic over scans i.

    Args:
        probability: Calibrated probabilities p under the source's shares, shape (n, L).
        source_prior: Shares s of the source, shape (L,), all > 0.
        counts: How often each scan counts, shape (n,); once, unless given.
        tolerance: The search ends when no share moves by more.
        max_steps: And after so many steps at the latest. The reference code stops at 100; a weak classifier needs
            more, and what is cut short leans towards the source's shares.

    Source:
        Saerens, Latinne & Decaestecker 2002, eq. 2.9; Alexandari et al. 2020 for the calibration before.
    """
    weight = np.full(len(probability), 1 / len(probability)) if counts is None else counts / counts.sum()
    share = source_prior.astype(np.float64)
    for step in range(1, max_steps + 1):
        ratio = share / source_prior
        new = ratio * ((weight / (probability @ ratio)) @ probability)
        moved = float(np.abs(new - share).max())
        share = new
        if moved < tolerance:
            return Prevalence(share, step, converged=True)
    return Prevalence(share, max_steps, converged=False)


def reweighted(probability: Floats, source_prior: Floats, share: Floats) -> Floats:
    """Posteriors under the target's shares: p_ic q_c / s_c, divided by its sum over c; shape (n, L)."""
    joint = probability * (share / source_prior)
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def bbse(source_probability: Floats, source_truth: Floats, target_probability: Floats) -> BlackBox:
    """Shares from hard predictions: w = max(0, C^-1 mu), q_c = w_c s_c / sum.

    C_pt is the share of source scans predicted p with truth t, mu_p the share of target scans predicted p, s the
    source's shares of truth.

    Args:
        source_probability: (n, L), of scans that the network was not trained on.
        source_truth: Indicators, shape (n, L).
        target_probability: (m, L).

    Source:
        Lipton, Wang & Smola 2018, Detecting and Correcting for Label Shift with Black Box Predictors, section 3.
    """
    eye = np.eye(source_probability.shape[1])
    confusion = eye[source_probability.argmax(axis=1)].T @ source_truth / len(source_truth)
    predicted = eye[target_probability.argmax(axis=1)].mean(axis=0)
    condition = float(np.linalg.cond(confusion))
    if not condition < 1 / np.finfo(np.float64).eps:
        return BlackBox(None, None, float("inf"))
    weights = np.maximum(np.linalg.solve(confusion, predicted), 0)
    share = weights * source_truth.mean(axis=0)
    if share.sum() == 0:
        return BlackBox(None, None, condition)
    return BlackBox(share / share.sum(), weights, condition)
