"""Decision curves: whether acting on a probability does more good than acting on everyone or on no one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.evaluate.estimates import DECIMALS, Estimates, Quantity, Record, Statistic
from pipeline.evaluate.patient_sums import patient_sums, statistic_of_sums
from pipeline.evaluate.predictions import Flags, Floats, Indices, PredictionTable

CURVE = tuple(k / 100 for k in range(1, 100))
AT = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # thresholds that have an interval
NO_PROBABILITY = "the one-class score is a rank among normals, not a probability to act on"


def net_benefit(tp: Floats, fp: Floats, n: Floats, threshold: Floats) -> Floats:
    """TP / n - FP / n * t / (1 - t): true positives a scan, less false ones at what the threshold says they cost.

    Who acts from a probability of t on holds a false alarm t / (1 - t) times as bad as a miss. Acting on everyone has
    TP = all positives and FP = all negatives; acting on no one has 0.

    Args:
        tp, fp: Rows called and positive, called and negative.
        n: All rows.
        threshold: t, 0 < t < 1.

    Source:
        Vickers & Elkin 2006, Decision curve analysis.
    """
    return np.asarray(tp / n - fp / n * (threshold / (1 - threshold)))


def treated(table: PredictionTable) -> tuple[int, ...]:
    """Columns of the classes that one may act on: all but the first, the normal one; none for `one_class`."""
    return () if table.task == "one_class" else tuple(range(1, len(table.classes)))


def curve(probability: Floats, positive: Flags, thresholds: Sequence[float] = CURVE) -> tuple[Floats, Floats]:
    """Net benefit of acting where probability >= threshold, and of acting on everyone; shape (T,) each.

    Args:
        probability: Of one class, shape (n,).
        positive: Which rows have it, shape (n,).
        thresholds: T of them, ascending.
    """
    at = np.array(thresholds, np.float64)
    sides = [np.sort(probability[flags]) for flags in (positive, ~positive)]
    n = np.full_like(at, positive.size)
    called = [(side.size - np.searchsorted(side, at, side="left")).astype(np.float64) for side in sides]
    everyone = [np.full_like(at, side.size) for side in sides]
    return net_benefit(called[0], called[1], n, at), net_benefit(everyone[0], everyone[1], n, at)


def decision_statistic(name: str, probability: Floats, positive: Flags, patient: Indices, patients: int) -> Statistic:
    """Net benefit of acting on one class at the thresholds of `AT`, and how far it is above acting on everyone.

    Args:
        name: The class.
        probability: Of the class, shape (n,).
        positive: Which rows have it, shape (n,).
        patient: Whose rows they are, shape (n,).
        patients: P, the number of patients.
    """
    at, steps = np.array(AT)[:, None], len(AT) + 1
    reached = np.searchsorted(AT, probability, side="right")  # number of thresholds at or below it
    sums = patient_sums(reached + steps * positive, 1.0, patient, shape=(2 * steps, patients))

    def values(found: Floats) -> Floats:
        fp, tp = (np.cumsum(side[::-1], axis=0)[::-1] for side in (found[:steps], found[steps:]))
        n = tp[0] + fp[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            model, everyone = net_benefit(tp[1:], fp[1:], n, at), net_benefit(tp[0], fp[0], n, at)
        return np.vstack([model, model - everyone])

    kinds = ("net_benefit", "over_treat_all")
    quantities = tuple(Quantity(("decision_curves", name, kind, f"{t:g}")) for kind in kinds for t in AT)
    return statistic_of_sums(quantities, sums, np.unique(patient), values)


def decision_statistics(table: PredictionTable) -> list[Statistic]:
    """One statistic for each class that one may act on."""
    patient = table.patient_index
    patients = int(patient.max()) + 1
    return [
        decision_statistic(table.classes[c], table.probability[:, c], table.truth[:, c] == 1, patient, patients)
        for c in treated(table)
    ]


def decision_record(table: PredictionTable, found: Estimates) -> dict[str, Any]:
    """`decision_curves` of metrics.json: curves without an interval, and figures with one at a few thresholds."""
    classes = {}
    for c in treated(table):
        name, positive = table.classes[c], table.truth[:, c] == 1
        model, everyone = curve(table.probability[:, c], positive)
        points = [_point(name, threshold, found) for threshold in AT]
        classes[name] = {
            "prevalence": round(float(positive.mean()), DECIMALS),
            "n": table.n,
            "net_benefit": [round(float(v), DECIMALS) for v in model],
            "treat_all": [round(float(v), DECIMALS) for v in everyone],
            "at": points if positive.any() else [],
        }
        if not positive.any():
            classes[name]["reason"] = "no positive rows"
    record: dict[str, Any] = {"thresholds": list(CURVE), "at": list(AT), "classes": classes}
    return record if classes else record | {"classes": None, "reason": NO_PROBABILITY}


def _point(name: str, threshold: float, found: Estimates) -> dict[str, Any]:
    """The figures at one threshold; `better` where both intervals lie above 0, null where one is missing."""
    figures: dict[str, Record] = {
        kind: found["decision_curves", name, kind, f"{threshold:g}"] for kind in ("net_benefit", "over_treat_all")
    }
    lows = [figure["low"] for figure in figures.values()]
    better = None if None in lows else all(low > 0 for low in lows)
    return {"threshold": threshold, **figures, "better": better}
