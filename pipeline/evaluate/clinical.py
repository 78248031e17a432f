"""What a clinician asks of a model beyond how well it ranks: calibration, worth of acting on it, policy, prevalence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.decide.record import PolicyRecord
from pipeline.evaluate.calibration_error import ERRORS, STAGES, calibration_errors
from pipeline.evaluate.calibration_slope import RECALIBRATION, recalibration
from pipeline.evaluate.decision_curve import decision_record, decision_statistics
from pipeline.evaluate.estimates import DECIMALS, Estimates, Statistic, null
from pipeline.evaluate.groups import Scope
from pipeline.evaluate.overall import NOT_A_PROBABILITY
from pipeline.evaluate.policy_kept import policy_record, policy_statistic, scope_record
from pipeline.evaluate.predictions import Indices, PredictionTable
from pipeline.evaluate.prevalence import DECISION, prevalence_record, prevalence_statistics
from pipeline.evaluate.reliability import Claims, reliability_curve

Key = tuple[()] | tuple[str, str]  # () for all rows, else column and value


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a validation beyond its figures.

    Attributes:
        policy: The bundle's, to be held against these scans; None to leave that out.
        prevalence: Class to the prevalence at which its PPV and NPV are wanted; `anomaly` is the decision.
    """

    policy: PolicyRecord | None = None
    prevalence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Clinical:
    """The statistics of one table, and where their estimates go in metrics.json.

    Attributes:
        table: The predictions.
        scopes: All rows under `()`, and each group under its column and value.
        thresholds: Class name to the probability from which it is called.
        anomaly_threshold: Anomaly score from which a scan is called abnormal.
        asked: What else is wanted.
    """

    table: PredictionTable
    scopes: Mapping[Key, Scope]
    thresholds: Mapping[str, float]
    anomaly_threshold: float
    asked: Asked

    @property
    def statistics(self) -> list[Statistic]:
        """Those of all rows together, then the policy's, one for each scope."""
        table, asked = self.table, self.asked
        found = [] if table.task == "one_class" else [calibration_errors(table)]
        found += decision_statistics(table)
        found += prevalence_statistics(table, self.thresholds, self.anomaly_threshold, asked.prevalence)
        if asked.policy is not None:
            rule = asked.policy.rule
            found += [policy_statistic(table, s.rows, self.anomaly_threshold, rule) for s in self.scopes.values()]
        return found

    def add(self, metrics: dict[str, Any], results: Sequence[Estimates]) -> None:
        """Add the estimates to metrics.json's record.

        Args:
            metrics: With `classes`, `calibration`, `groups` and `anomaly`.
            results: Of `statistics`, in their order.
        """
        table = self.table
        split = len(results) - (len(self.scopes) if self.asked.policy else 0)
        found = {name: number for each in results[:split] for name, number in each.items()}
        patient = table.patient_index
        for key, scope in self.scopes.items():
            record = _of(metrics, key)
            record["calibration"]["classes"] = {
                table.classes[c]: _recalibrated(table, c, scope.rows, patient[scope.rows]) for c in table.measured
            }
        metrics["anomaly"]["prevalence"] = round(float(table.abnormal.mean()), DECIMALS)
        self._add_errors(metrics["calibration"], found)
        metrics["decision_curves"] = decision_record(table, found)
        for name, share in self.asked.prevalence.items():
            record = metrics["classes"].get(name) or metrics[DECISION]
            record["at_prevalence"] = prevalence_record(name, share, record, found)
        if self.asked.policy is not None:
            metrics["policy"] = self._policy(self.asked.policy, iter(results[split:]))

    def _add_errors(self, calibration: dict[str, Any], found: Estimates) -> None:
        table, missing = self.table, null(NOT_A_PROBABILITY)
        for error in ERRORS:
            calibration[error] = {s: found.get(("calibration", error, s), missing) for s in STAGES}
        for c in table.measured:
            name = table.classes[c]
            record = calibration["classes"][name]
            record["ece"] = found.get(("calibration", "classes", name, "ece"), missing)
            record["curve"] = [] if table.task == "one_class" else reliability_curve(_claims(table, c))

    def _policy(self, policy: PolicyRecord, results: Iterator[Estimates]) -> dict[str, Any]:
        scopes = {
            key: scope_record(self.table, scope.rows, next(results), policy.rule) for key, scope in self.scopes.items()
        }
        groups: dict[str, dict[str, Any]] = {column: {} for column in self.table.groups}
        for key, record in scopes.items():
            if key:
                groups[key[0]][key[1]] = record
        return policy_record(policy, scopes[()], groups)


def _of(metrics: dict[str, Any], key: Key) -> dict[str, Any]:
    record: dict[str, Any] = metrics["groups"][key[0]][key[1]] if key else metrics
    return record


def _recalibrated(table: PredictionTable, c: int, rows: Indices, patient: Indices) -> dict[str, Any]:
    if table.task == "one_class":
        return {name: null(NOT_A_PROBABILITY) for name in RECALIBRATION}
    found = recalibration(table.probability[rows, c], table.truth[rows, c] == 1, patient)
    return dict(found)


def _claims(table: PredictionTable, c: int) -> Claims:
    return Claims(table.probability[:, [c]], table.truth[:, [c]].astype(np.float64))
