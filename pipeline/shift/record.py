"""The record of everything that was said about a shift; the page and shift.json are drawn from it alone."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.shift.accuracy import ExpectedAccuracy
from pipeline.shift.header_fields import FieldDrift
from pipeline.shift.kind import KindOfShift
from pipeline.shift.label_shift import LabelShift
from pipeline.shift.labels_needed import LabelsNeeded
from pipeline.shift.sizes import Sizes
from pipeline.shift.two_sample import ShiftTest


@dataclass(frozen=True, slots=True)
class Side:
    """How many scans and patients a side has, and how many of its scans took part."""

    scans: int
    patients: int
    used: int


@dataclass(frozen=True, slots=True)
class ShiftReport:
    """What `scanshift shift` writes; whatever cannot be said is None with a reason beside it.

    Attributes:
        reference, incoming: The two sides.
        seed, permutations: What the tests ran with.
        test: Whether the sides differ at all, or None; then `test_reason` says why.
        sizes: How large the shift is, each size beside what chance gives.
        kind: What kind of shift.
        headers: Drift of each header field.
        prevalence: Mix of classes on both sides, or None; then `prevalence_reason` says why.
        accuracy: Accuracy to expect, or None without logits and labels; then `accuracy_reason` says why.
        labels_needed: How many labels to bring, by purpose.
        remarks: What else a reader must know.
    """

    reference: Side
    incoming: Side
    seed: int
    permutations: int
    test: ShiftTest | None
    test_reason: str
    sizes: Sizes
    kind: KindOfShift
    headers: tuple[FieldDrift, ...]
    prevalence: LabelShift | None
    prevalence_reason: str
    accuracy: ExpectedAccuracy | None
    accuracy_reason: str
    labels_needed: tuple[LabelsNeeded, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, tuples, numbers and strings, named as the fields are."""
        return asdict(self)
