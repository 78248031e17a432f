"""What scoring says of one series."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.decide.refer import referral

ScoreStatus = Literal["scored", "refused", "failed", "ignored"]
Decision = Literal["", "normal", "anomaly", "refer"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one series.

    Attributes:
        status: `failed` is what may go well next time, such as a file that could not be read just now.
        reason: Code, then words; empty only when scored without referral.
        probability: Calibrated probability of each class, in the bundle's order; empty unless scored.
        anomaly_score: 0..1, None unless scored.
        decision: Empty unless scored.
        copy: Whether the scan looks like a copy of one from the bundle's training.
        called: What the policy alone would decide, where the decision is `refer`; else empty.
    """

    status: ScoreStatus
    reason: str = ""
    probability: tuple[float, ...] = ()
    anomaly_score: float | None = None
    decision: Decision = ""
    copy: bool = False
    called: Decision = ""

    @property
    def abnormal(self) -> bool:
        """Whether the policy calls the scan abnormal, also where it is referred."""
        return "anomaly" in (self.decision, self.called)

    def referred(self, unfamiliar: str = "", uncertain: str = "") -> "Outcome":
        """The outcome with the decision left to a person, where it was scored and there is a reason for that.

        Args:
            unfamiliar: What of its header training did not have, in words; empty for nothing.
            uncertain: Why its prediction set leaves the decision open; empty where it does not, or said so before.
        """
        before = self.reason.partition(": ")[2] if self.decision == "refer" else ""
        reason = referral(unfamiliar, uncertain or before)
        if self.status != "scored" or not reason:
            return self
        return replace(self, reason=reason, decision="refer", called=self.called or self.decision)

    def to_record(self) -> dict[str, Any]:
        """Plain values for a JSON line."""
        return {
            "status": self.status,
            "reason": self.reason,
            "probability": list(self.probability),
            "anomaly_score": self.anomaly_score,
            "decision": self.decision,
            **({"copy": True} if self.copy else {}),
            **({"called": self.called} if self.called else {}),
        }

    @staticmethod
    def from_record(record: dict[str, Any]) -> "Outcome":
        """Read what `to_record` gave."""
        return Outcome(
            status=record["status"],
            reason=record["reason"],
            probability=tuple(record["probability"]),
            anomaly_score=record["anomaly_score"],
            decision=record["decision"],
            copy=bool(record.get("copy", False)),
            called=record.get("called", ""),
        )
