"""What a night's outcomes look like: counts, the distribution of scores, shares with intervals."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.diary.record import Row
from pipeline.evaluate.proportions import effective_trials, wilson_limits
from pipeline.model_record import ModelRecord
from pipeline.score.outcome import Outcome
from pipeline.score.table import predicted_class

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST = 5

Settled = Sequence[tuple[str, Outcome]]


def counted(night: str, digest: str, settled: Settled, unsettled: int, record: ModelRecord) -> Row:
    """The row of a night as far as outcomes alone make it.

    Args:
        night: Its date.
        digest: Of the bundle.
        settled: Patient and outcome of each series of the night; an empty patient is like no other.
        unsettled: How many failed or still wait.
        record: Of the bundle.
    """
    counts = Counter(outcome.status for _, outcome in settled)
    counts["failed"] += unsettled
    scored = [(patient, outcome) for patient, outcome in settled if outcome.status == "scored"]
    judged = [(patient, outcome) for patient, outcome in settled if outcome.status != "ignored"]
    return Row(
        night=night,
        bundle=digest,
        counts={str(status): n for status, n in sorted(counts.items()) if n},
        decisions=dict(sorted(Counter(str(outcome.decision) for _, outcome in scored).items())),
        classes=dict(sorted(Counter(predicted_class(record, outcome) for _, outcome in scored).items())),
        scores=quantiles([outcome.anomaly_score for _, outcome in scored]),
        shares={
            "abnormal": share([o.abnormal for _, o in scored], scored),
            "referred": share([o.decision == "refer" for _, o in scored], scored),
            "refused": share([o.status == "refused" for _, o in judged], judged),
        },
    )


def quantiles(scores: Sequence[float | None]) -> dict[str, float] | None:
    """Quantiles of anomaly scores, 4 decimals; None for fewer than 5."""
    known = [score for score in scores if score is not None]
    if len(known) < FEWEST:
        return None
    return {f"{q:g}": round(float(v), 4) for q, v in zip(QUANTILES, np.quantile(known, QUANTILES), strict=True)}


def share(found: Sequence[bool], of: Settled) -> dict[str, Any]:
    """A share with Wilson's 95 % interval, which counts scans of one patient for what they are worth."""
    if not found:
        return {"value": None, "low": None, "high": None, "of": 0}
    numbers: dict[str, int] = {}
    patient = [numbers.setdefault(name or f"\0{n}", len(numbers)) for n, (name, _) in enumerate(of)]
    flags = np.array(found, dtype=np.bool_)
    value = float(flags.mean())
    low, high = wilson_limits(value, effective_trials(flags, np.array(patient, dtype=np.intp)))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "of": len(found)}
