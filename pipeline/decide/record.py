"""What a bundle says of its policy: the rule, what it was chosen on, and what it achieved there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.decide.policy import Policy

OLD_KIND = "sensitivity on "
NAMES = {
    "false_alarm": "share of normal scans called abnormal, each patient counted once",
    "sensitivity": "share of abnormal scans found",
    "readings": "share of unlabelled scans called abnormal",
    "cost": "cost of a scan, in false alarms",
}


class Achieved(BaseModel):
    """One figure of a policy on the scans that it was chosen on, where it flatters.

    Attributes:
        name: Which one, see `NAMES`.
        value: The figure.
        low, high: Wilson's 95 % interval with the number of patients as trials, so that several scans of a patient do
            not make it narrower; none for a cost.
        scans, patients: What it was counted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["false_alarm", "sensitivity", "readings", "cost"]
    value: float
    low: float | None = None
    high: float | None = None
    scans: int
    patients: int

    @property
    def line(self) -> str:
        """The figure in words."""
        limits = f" (95 % interval {self.low:.4f} to {self.high:.4f})" if self.low is not None else ""
        return f"{NAMES[self.name]}: {self.value:.4f}{limits}, {self.scans} scans of {self.patients} patients"


class PolicyRecord(BaseModel):
    """How a bundle's decision threshold was chosen. Bundles from before policies are read as what they were.

    Attributes:
        rule: The policy.
        measured_on: The held-out scans, in words, such as `validation rows`.
        chosen_on: Which of them chose the threshold, in words; empty in bundles from before.
        achieved: What it gives there; empty in bundles from before.
        notes: What to know when trusting it.
        raw_threshold: `one_class`: the detector's raw score from which a scan is abnormal, which for `false_alarm` says
            the same as the exact conformal p-value; else none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: Policy
    measured_on: str
    chosen_on: str = ""
    achieved: tuple[Achieved, ...] = ()
    notes: tuple[str, ...] = ()
    raw_threshold: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_before(cls, value: object) -> object:
        if not isinstance(value, dict) or "kind" not in value:
            return value
        kind, target = str(value["kind"]), value.get("target")
        if not kind.startswith(OLD_KIND) or not isinstance(target, float):
            raise ValueError(f"policy {kind!r}: expected `{OLD_KIND}<rows>` with a target")
        return {"rule": Policy(kind="sensitivity", amount=target), "measured_on": kind.removeprefix(OLD_KIND)}

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words, a line each."""
        chosen = self.chosen_on or f"the {self.measured_on}"
        first = f"policy {self.rule.text}: {self.rule.words}; chosen on {chosen}"
        return (first, *(figure.line for figure in self.achieved), *(f"note: {note}" for note in self.notes))
