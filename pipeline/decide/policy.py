"""Policies: how a score becomes a decision, as text such as `false_alarm=0.05` and as a checked record."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from pipeline.errors import PolicyError

Kind = Literal["false_alarm", "sensitivity", "capacity", "cost"]
NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)"
GRAMMAR: dict[str, str] = {
    "false_alarm": rf"{NUMBER}",  # share of normal scans that may be called abnormal
    "sensitivity": rf"{NUMBER}",  # share of abnormal scans to be found
    "capacity": rf"{NUMBER}/{NUMBER}",  # readings / scans, both a day
    "cost": rf"{NUMBER}@{NUMBER}",  # cost of a miss in false alarms @ prevalence
}
EXAMPLES = "false_alarm=0.05, sensitivity=0.95, capacity=20/200 or cost=10@0.05"


class Policy(BaseModel):
    """What is asked of a threshold. As YAML and on the command line it is one word, such as `capacity=20/200`.

    Attributes:
        kind: Which policy.
        amount: `false_alarm`, `sensitivity`: the share, 0 < share < 1. `capacity`: readings a day, a whole number.
            `cost`: what a miss costs, in false alarms.
        of: `capacity`: scans a day, a whole number above the readings. `cost`: prevalence, 0 < share < 1. Else 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    amount: float = Field(gt=0, le=1e6)
    of: float = Field(default=0.0, ge=0, le=1e6)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return _parts(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "Policy":
        if self.kind in ("false_alarm", "sensitivity") and not (self.amount < 1 and self.of == 0):
            raise ValueError(f"{self.kind}={self.amount:g}: expected a share above 0 and below 1")
        if self.kind == "capacity":
            whole = self.amount.is_integer() and self.of.is_integer()
            if not (whole and self.amount < self.of):
                raise ValueError(f"{self.text}: expected whole numbers, fewer readings than scans a day")
        if self.kind == "cost" and not 0 < self.of < 1:
            raise ValueError(f"{self.text}: expected a prevalence above 0 and below 1 after the @")
        return self

    @model_serializer
    def _to_text(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The policy in its grammar; reading it back gives the same policy."""
        amount, of = (f"{value:.0f}" if value.is_integer() else repr(value) for value in (self.amount, self.of))
        return f"{self.kind}={amount}" + {"capacity": f"/{of}", "cost": f"@{of}"}.get(self.kind, "")

    def class_sensitivity(self, otherwise: float) -> float:
        """The sensitivity at which per-class thresholds stand: the policy's own where it is one, else another."""
        return self.amount if self.kind == "sensitivity" else otherwise

    @property
    def words(self) -> str:
        """The policy as a phrase."""
        return {
            "false_alarm": f"at most {self.amount:.4g} of normal scans are called abnormal",
            "sensitivity": f"at least {self.amount:.4g} of abnormal scans are found",
            "capacity": f"at most {self.amount:.0f} of {self.of:.0f} scans a day are called abnormal",
            "cost": f"lowest cost: a miss costs {self.amount:.4g} false alarms, {self.of:.4g} of scans are abnormal",
        }[self.kind]


def parse_policy(text: str) -> Policy:
    """Read a policy from its grammar.

    Raises:
        PolicyError: If it is none, or a number is out of range.
    """
    try:
        return Policy.model_validate(text)
    except ValueError as error:
        raise PolicyError(_first(error)) from error


def configured_policy(text: str, task: str, sensitivity_target: float) -> Policy:
    """The policy that a config names, or its task's default.

    The default of `one_class` is `false_alarm=0.05`, which needs no abnormal scan; else it is the sensitivity target.
    """
    if text:
        return parse_policy(text)
    if task == "one_class":
        return Policy(kind="false_alarm", amount=0.05)
    return Policy(kind="sensitivity", amount=sensitivity_target)


def _parts(text: str) -> dict[str, Any]:
    kind, _, rest = text.replace(" ", "").partition("=")
    found = re.fullmatch(GRAMMAR[kind], rest) if kind in GRAMMAR else None
    if not found:
        raise ValueError(f"policy {text!r}: expected {EXAMPLES}")
    return {"kind": kind} | dict(zip(("amount", "of"), map(float, found.groups()), strict=False))


def _first(error: ValueError) -> str:
    listed = error.errors() if hasattr(error, "errors") else []
    return str(listed[0]["msg"]).removeprefix("Value error, ") if listed else str(error)
