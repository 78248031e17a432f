"""The policy `cost`: a miss costs `ratio` false alarms, at a stated share of abnormal scans."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from pipeline.decide.conformal import Floats
from pipeline.decide.cut import Cut, counted
from pipeline.decide.decision_scores import ABNORMAL, NORMAL, DecisionScores
from pipeline.decide.policy import Policy
from pipeline.errors import PolicyError

ENOUGH = 20
SUREST = 1e-9


def cost_cut(rule: Policy, scores: DecisionScores, raw: bool) -> Cut:
    """Where the expected cost is lowest: counted on 20 or more patients of each side, else by the closed form.

    Raises:
        PolicyError: If there are fewer patients and the scores are no probabilities, or a side is missing.
    """
    normal, abnormal = scores.of(NORMAL), scores.of(ABNORMAL)
    fewest = min(np.unique(normal[1]).size, np.unique(abnormal[1]).size)
    words = f"{counted('normal', *normal)} and {counted('abnormal', *abnormal)}"
    if fewest >= ENOUGH:
        cut, above = lowest_cost(normal[0], abnormal[0], rule.amount, rule.of)
        note = f"reweighted from {abnormal[0].size / (abnormal[0].size + normal[0].size):.4g} to {rule.of:.4g} abnormal"
        return Cut(cut, above, words, (note,))
    if raw or not fewest:
        raise PolicyError(
            f"{rule.text}: {words} held out; {ENOUGH if raw else 1} patients of each are needed at least, "
            f"{ENOUGH} to count costs instead of trusting probabilities; or choose a policy that needs no abnormal scan"
        )
    value = closed_form(normal[0], abnormal[0], rule.amount, rule.of)
    note = (
        f"fewer than {ENOUGH} patients of a side: not counted but computed, as the point where the probability, "
        f"brought to {rule.of:.4g} abnormal, is 1 / (1 + {rule.amount:.4g}); it is as good as the calibration"
    )
    return Cut(value, False, words, (note,))


def lowest_cost(normal: Floats, abnormal: Floats, ratio: float, prevalence: float) -> tuple[float, bool]:
    """The highest score t that minimises ratio pi #{abnormal < t} / n_a + (1 - pi) #{normal >= t} / n_n.

    Args:
        normal, abnormal: Scores of each side.
        ratio: Cost of a miss in false alarms.
        prevalence: pi.

    Returns:
        A score and whether a scan is abnormal only above it: above the highest one, nothing seen was worth a call.

    Source:
        Metz 1978, Basic Principles of ROC Analysis (the cost of an operating point).
    """
    tried = np.unique(np.concatenate([normal, abnormal]))[::-1]
    missed = np.searchsorted(np.sort(abnormal), tried, side="left") / abnormal.size
    alarms = 1 - np.searchsorted(np.sort(normal), tried, side="left") / normal.size
    costs = ratio * prevalence * missed + (1 - prevalence) * alarms
    best = int(np.argmin(costs))
    if ratio * prevalence <= costs[best]:
        return float(tried[0]), True
    return float(tried[best]), False


def closed_form(normal: Floats, abnormal: Floats, ratio: float, prevalence: float) -> float:
    """The score p whose corrected probability is 1 / (1 + ratio), where missing and calling cost the same.

    logit p' = logit p + b + logit prevalence - logit h, where h is the share of abnormal ones among the held-out scans
    and b the shift that makes the mean of expit(logit p + b) there equal h: the network's loss weighs classes, so its
    probabilities need not be at h.

    Args:
        normal, abnormal: Calibrated anomaly scores of each side, neither empty.
        ratio: Cost of a miss in false alarms.
        prevalence: Share of abnormal scans to expect.

    Source:
        Elkan 2001, The Foundations of Cost-Sensitive Learning, theorems 1 and 2; calibration in the large.
    """
    held = abnormal.size / (abnormal.size + normal.size)
    logits = logit(np.clip(np.concatenate([normal, abnormal]), SUREST, 1 - SUREST))
    b = brentq(lambda shift: float(expit(logits + shift).mean()) - held, -60.0, 60.0)
    return float(expit(-np.log(ratio) - b - logit(prevalence) + logit(held)))
