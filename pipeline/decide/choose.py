"""From a policy and held-out scores to a threshold, with what it achieves there."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, nextafter

import numpy as np
from scipy.stats import binom

from pipeline.decide.conformal import Flags, Floats, conformal_scale
from pipeline.decide.cost import cost_cut
from pipeline.decide.cut import Cut, counted
from pipeline.decide.decision_scores import ABNORMAL, NORMAL, UNLABELLED, DecisionScores, Integers
from pipeline.decide.policy import Kind, Policy
from pipeline.decide.record import Achieved, PolicyRecord
from pipeline.errors import PolicyError
from pipeline.evaluate.proportions import wilson_limits
from pipeline.evaluate.thresholds import threshold_at_sensitivity


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen threshold.

    Attributes:
        threshold: On the anomaly score: a scan is abnormal from it on.
        record: What the bundle says of it.
    """

    threshold: float
    record: PolicyRecord


def choose(rule: Policy, scores: DecisionScores, *, measured_on: str, raw: bool) -> Choice:
    """Choose the threshold that meets a policy on held-out scores.

    Args:
        rule: The policy.
        scores: Of scans that the model was not fitted on.
        measured_on: These scans, in words.
        raw: Whether the scores are raw ones (`one_class`); their anomaly score is `ConformalScale.score01`.

    Raises:
        PolicyError: If the scores are too few for the policy, of the wrong side, or all identical.
    """
    if np.ptp(scores.score) == 0:
        raise PolicyError(
            f"{rule.text}: all {scores.score.size} held-out scans have the same score: no threshold tells any apart"
        )
    cut = CUTS[rule.kind](rule, scores, raw)
    edge = nextafter(cut.value, np.inf) if cut.above else cut.value
    threshold = edge
    notes = list(cut.notes)
    if raw:
        scale = conformal_scale(*scores.of(NORMAL))
        place = float(scale.score01(cut.value))
        threshold = nextafter(place, np.inf) if cut.above else place
        notes += [note for note in scale.warnings if note not in notes]
    record = PolicyRecord(
        rule=rule,
        measured_on=measured_on,
        chosen_on=f"{cut.chosen_on} among the {measured_on}",
        achieved=_achieved(rule, scores, scores.score >= edge),
        notes=tuple(notes),
        raw_threshold=edge if raw else None,
    )
    return Choice(threshold, record)


def _false_alarm(rule: Policy, scores: DecisionScores, _raw: bool) -> Cut:
    """A scan is abnormal where its exact conformal p-value beside the held-out normals is at most the rate."""
    normals, patients = scores.of(NORMAL)
    scale = conformal_scale(normals, patients)
    guarantee = (
        f"over new normal patients like these, at most {rule.amount:.4g} false alarms on average; another scanner or "
        "population is not covered"
    )
    return Cut(scale.limit(rule.amount), True, counted("normal", normals, patients), (guarantee, *scale.warnings))


def _sensitivity(rule: Policy, scores: DecisionScores, _raw: bool) -> Cut:
    """The highest threshold that finds the share of the held-out abnormal scans."""
    found, patients = scores.of(ABNORMAL)
    number, wanted = np.unique(patients).size, ceil(1 / (1 - rule.amount) - 1e-9)
    if not found.size:
        raise PolicyError(
            f"{rule.text}: no abnormal scan with a label among the held-out ones; label those of at least {wanted} "
            "patients, or choose a policy that needs none, such as false_alarm=0.05"
        )
    few = (
        f"{number} abnormal patients are too few for a share of {rule.amount:.4g}: below {wanted} a single patient is "
        "more than what may be missed",
    )
    value = threshold_at_sensitivity(found, np.ones(found.size, bool), rule.amount)
    return Cut(value, False, counted("abnormal", found, patients), few if number < wanted else ())


def _capacity(rule: Policy, scores: DecisionScores, _raw: bool) -> Cut:
    """Readings R of S scans a day: with n scans, those above the k-th highest score are read, k = floor(R (n + 1) / S).

    A scan is read where (1 + #{s_i >= s}) / (n + 1) <= R / S, so a new scan like these is read with a probability of at
    most R / S. All scans count alike, also those of one patient: readings are of scans.
    """
    readings, day = int(rule.amount), int(rule.of)
    needed = -(-day // readings) - 1
    pool, normals = scores.of(UNLABELLED), scores.of(NORMAL)
    taken, name = (pool, "unlabelled") if pool[0].size >= needed else (normals, "normal")
    k = readings * (taken[0].size + 1) // day
    if not k:
        raise PolicyError(
            f"{rule.text}: {pool[0].size} unlabelled and {normals[0].size} normal held-out scans; at least {needed} "
            "of one kind are needed"
        )
    notes = [f"{binom.ppf(0.95, day, readings / day):.0f} readings or fewer on 95 % of days (binomial)"]
    if name == "normal":
        notes.append("no unlabelled pool of enough scans: chosen on normal scans, so abnormal ones come on top")
    return Cut(float(np.sort(taken[0])[::-1][k - 1]), True, counted(name, *taken), tuple(notes))


CUTS: dict[Kind, Callable[[Policy, DecisionScores, bool], Cut]] = {
    "false_alarm": _false_alarm,
    "sensitivity": _sensitivity,
    "capacity": _capacity,
    "cost": cost_cut,
}


def _achieved(rule: Policy, scores: DecisionScores, called: Flags) -> tuple[Achieved, ...]:
    told = []
    sides = {"false_alarm": NORMAL, "sensitivity": ABNORMAL, "readings": UNLABELLED}
    for name, side in sides.items():
        here = scores.side == side
        patients = scores.patient[here]
        if patients.size:
            value = patient_share(called[here], patients) if side == NORMAL else float(called[here].mean())
            number = int(np.unique(patients).size)
            low, high = wilson_limits(value, number)
            told.append(
                Achieved.model_validate(
                    {"name": name, "value": value, "low": low, "high": high}
                    | {"scans": int(patients.size), "patients": number}
                )
            )
    if rule.kind == "cost":
        missed = 1 - called[scores.side == ABNORMAL].mean()
        alarms = called[scores.side == NORMAL].mean()
        value = float(rule.of * rule.amount * missed + (1 - rule.of) * alarms)
        labelled = scores.patient[scores.side != UNLABELLED]
        told.append(Achieved(name="cost", value=value, scans=labelled.size, patients=np.unique(labelled).size))
    return tuple(told)


def patient_share(called: Flags, patients: Integers) -> float:
    """Mean over patients of the share of their scans that were called."""
    _, owner, count = np.unique(patients, return_inverse=True, return_counts=True)
    parts: Floats = np.bincount(owner, weights=called) / count
    return float(parts.mean())
