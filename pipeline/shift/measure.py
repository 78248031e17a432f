"""Everything that can be said about the shift between two sets of scans, in one report."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.shift.domain import Domain
from pipeline.shift.number import Number

Task = Literal["multiclass", "multilabel", "one_class"]


@dataclass(frozen=True, slots=True)
class ShiftReport:
    """What `scanshift shift` writes; whatever cannot be said is null with a reason beside it.

    JSON: `reference` and `incoming` {scans, patients}; `test` {p_value, rejected, by, reason, outputs {p_value, rejected,
    columns, reason}, kernel {mmd2, p_value, rejected, reason}}; `sizes.{mmd2, frechet, c2st_auc, proxy_a_distance}`
    {value, low, high, reason, null {mean, low, high, draws, reason}}; `kind` {kind, reason, ...}; `headers` {rejected,
    reason, fields []}; `prevalence` {shift: LabelShift or null, reason}; `accuracy` {estimable, reason, reference, atc_entropy,
    atc_confidence, doc}; `labels_needed` []; `remarks` [].
    """

    accuracy: Number

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings."""
        return asdict(self)


def measure_shift(
    reference: Domain, incoming: Domain, *, seed: int, permutations: int = 1000, task: Task = "multiclass"
) -> ShiftReport:
    """How far incoming scans lie from reference scans, what kind of shift, and what accuracy to expect."""
    raise NotImplementedError
