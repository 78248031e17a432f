"""What scoring says of one series."""

from dataclasses import dataclass
from typing import Any, Literal

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
    """

    status: ScoreStatus
    reason: str = ""
    probability: tuple[float, ...] = ()
    anomaly_score: float | None = None
    decision: Decision = ""
    copy: bool = False

    def to_record(self) -> dict[str, Any]:
        """Plain values for a JSON line."""
        return {
            "status": self.status,
            "reason": self.reason,
            "probability": list(self.probability),
            "anomaly_score": self.anomaly_score,
            "decision": self.decision,
            **({"copy": True} if self.copy else {}),
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
        )
