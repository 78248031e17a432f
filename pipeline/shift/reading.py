"""The scans of one side as the network sees them, and both sides as domains that can be compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.errors import SourceError
from pipeline.prepare.cache import SampleStore
from pipeline.shift.acquisition import columns, header_values
from pipeline.shift.domain import Domain, HeaderValue
from pipeline.shift.encoder import Encoder, Floats
from pipeline.shift.sides import FoundSide, Member
from pipeline.watch import Watch

Indicators = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Scans:
    """Scans of one side with everything that is measured on them.

    Attributes:
        features: Shape (n, F).
        logits: Shape (n, L), or None without a classifier.
        truth: Indicators, shape (n, L), or None where labels or classes are missing.
        patients: n identities; they stay in memory.
        headers: Field to n values.
    """

    features: Floats
    logits: Floats | None
    truth: Indicators | None
    patients: tuple[str, ...]
    headers: Mapping[str, tuple[HeaderValue, ...]] = field(default_factory=dict)


def prepare_side(side: FoundSide, store: SampleStore, watch: Watch) -> FoundSide:
    """Prepare the pixels of a side; what cannot be read is counted by reason.

    Raises:
        SourceError: If no series can be read.
    """
    refs = [member.ref for member in side.members]
    refused = store.fill(refs, watch.bar(f"preparing scans, {side.role}", len(refs)))
    for code in sorted({reason.partition(":")[0] for reason in refused.values()}):
        kept = [m for m in side.members if refused.get(m.ref.key, "").partition(":")[0] != code]
        side = side.less(kept, code)
    if not side.members:
        codes = ", ".join(f"{count} {code}" for code, count in side.refused.items())
        raise SourceError(f"{side.role}: no series whose pixels can be read ({codes})")
    return side


def read_scans(side: FoundSide, encoder: Encoder, store: SampleStore, watch: Watch) -> Scans:
    """Features, logits, labels and header fields of a prepared side."""
    contents = [member.ref.key for member in side.members]
    features, logits = encoder.embed(store, contents, watch.bar(f"features, {side.role}", len(contents)))
    return Scans(
        features=features,
        logits=logits if encoder.classes else None,
        truth=truth_of(side.members, encoder.classes),
        patients=tuple(member.patient for member in side.members),
        headers=columns([header_values(member.ref) for member in side.members]),
    )


def truth_of(members: Sequence[Member], classes: Sequence[str]) -> Indicators | None:
    """Indicators (n, L) of the labels; None unless there are classes and every scan has a label."""
    if not classes or not all(member.labels for member in members):
        return None
    return np.array([[name in member.labels for name in classes] for member in members], np.int8)


def labelled_only(side: FoundSide, at_least: int) -> FoundSide:
    """A side of which some scans are unlabelled without those, if at least so many are left; else as it is."""
    kept = [member for member in side.members if member.labels]
    if len(kept) < at_least:
        return side
    note = f"{side.role}: {{n}} series without a label were left out, so that accuracy can be estimated"
    return side.less(kept, "UNLABELLED", note)


def as_domains(reference: Scans, incoming: Scans) -> tuple[Domain, Domain, int]:
    """Both sides with numbers in place of patients, the same number where one is on both sides.

    Returns:
        The reference, the incoming scans, and how many patients are on both sides.
    """
    names = {name: f"{n:06d}" for n, name in enumerate(dict.fromkeys((*reference.patients, *incoming.patients)))}
    fields = dict.fromkeys((*reference.headers, *incoming.headers))
    first, second = (
        Domain(
            side.features,
            side.logits,
            side.truth,
            tuple(names[patient] for patient in side.patients),
            {name: side.headers.get(name, (None,) * len(side.patients)) for name in fields},
        )
        for side in (reference, incoming)
    )
    return first, second, len(set(reference.patients) & set(incoming.patients))


def side_record(side: FoundSide) -> dict[str, object]:
    """What a report tells of a side: counts, no identity."""
    return {
        "source": side.source,
        "found": side.found,
        "used": len(side.members),
        "patients": len({member.patient for member in side.members}),
        "labelled": sum(bool(member.labels) for member in side.members),
        "left_out": dict(sorted(Counter({str(code): n for code, n in side.refused.items()}).items())),
    }
