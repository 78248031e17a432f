"""What the registry says of a bundle: where it stands, what was measured of it, what happened to it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ADDED, MOVED, PROMOTED, RETIRED, REINSTATED = "added", "moved", "promoted", "retired", "reinstated"
VALIDATED = "validate"  # the verb whose figures are of scans that training has not seen


class State(StrEnum):
    """Where a bundle stands."""

    CANDIDATE = "candidate"
    APPROVED = "approved"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle in the registry.

    Attributes:
        digest: SHA-256 that names it.
        parent: Digest of the bundle that it was made from; empty for none.
        task, backbone, classes, created: As the bundle says.
        folder: Where it lies, as far as the registry knows.
        slots: What it is approved for, sorted.
        retired: Whether it was taken out of use.
    """

    digest: str
    parent: str
    task: str
    backbone: str
    classes: tuple[str, ...]
    created: str
    folder: Path
    slots: tuple[str, ...] = ()
    retired: bool = False

    @property
    def state(self) -> State:
        """Approved where it has a slot."""
        if self.slots:
            return State.APPROVED
        return State.RETIRED if self.retired else State.CANDIDATE

    @property
    def short(self) -> str:
        """The digest as people read it."""
        return self.digest[:12]


@dataclass(frozen=True, slots=True)
class SiteFigure:
    """Macro AUROC of one site, None where it could not be computed, with the limits of its 95 % interval."""

    site: str
    scans: int
    auroc: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A headline of `validate`, or of the rows that `adapt` chose by.

    Attributes:
        at: UTC time, ISO 8601.
        verb: `adapt` or `validate`.
        measured_on: Which scans, in words.
        scans, patients: How many.
        auroc: Macro AUROC; None where it could not be computed.
        low, high: Limits of its 95 % interval.
        sites: The same for each site.
    """

    at: str
    verb: str
    measured_on: str
    scans: int
    patients: int
    auroc: float | None
    low: float | None
    high: float | None
    sites: tuple[SiteFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a bundle; never changed or deleted.

    Attributes:
        at: UTC time, ISO 8601.
        event: `added`, `moved`, `promoted`, `retired` or `reinstated`.
        slot: What it was promoted to, or retired from.
        who: A person's name as given, or the command that did it.
        note: In their words.
    """

    at: str
    event: str
    slot: str
    who: str
    note: str
