"""What a check says of one series; nothing in it but `ref` names a patient or a place on disk."""

from dataclasses import dataclass, field, replace

from pipeline.check.chain import ChainStep, PixelChain, Range
from pipeline.check.geometry_proof import GeometryProof
from pipeline.scan import SeriesRef


@dataclass(frozen=True, slots=True)
class Measured:
    """What reading a series gave.

    Attributes:
        lowest, highest: Of the voxels.
        inverted: Whether a radiograph's polarity was turned.
        colour: Whether three channels were kept.
        seconds: Wall time of reading and, with a bundle, of preparing it.
    """

    lowest: float
    highest: float
    inverted: bool
    colour: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a series was in a bundle's training set.

    Attributes:
        patient: None where the series names no patient.
        content: Whether its very pixels and header were.
    """

    patient: bool | None
    content: bool


@dataclass(frozen=True, slots=True)
class SeriesCheck:
    """One series, or one file or link that belongs to none.

    Attributes:
        number: From 1, in the order of source and series_uid.
        ref: The series; refused also where reading or the bundle refused it.
        split_by: What tells it from the other volumes of its Series Instance UID.
        left_out: Reason code to number of files of the series that are not read.
        geometry: None where the images lie nowhere in the patient.
        chain: Empty where the header could not be understood.
        preparation: What the bundle does with it after reading.
        measured: None where it was not read.
        seen: None without a bundle that says who was in training, and for series that cannot be scored.
    """

    number: int
    ref: SeriesRef
    split_by: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    geometry: GeometryProof | None = None
    chain: PixelChain = field(default_factory=lambda: PixelChain(()))
    preparation: tuple[ChainStep, ...] = ()
    measured: Measured | None = None
    seen: Seen | None = None

    @property
    def belongs(self) -> bool:
        """Whether it is a series, not a file or link that belongs to none."""
        return bool(self.ref.series_uid)

    @property
    def trained_on(self) -> bool:
        """Whether its patient, or its very content, was in the bundle's training set."""
        return self.seen is not None and (bool(self.seen.patient) or self.seen.content)

    @property
    def outside(self) -> Range | None:
        """The values that were read, if they lie outside what the headers allow, which would be a fault."""
        if self.measured is None or self.chain.possible is None:
            return None
        low, high = self.chain.possible
        slack = 1e-5 * max(abs(low), abs(high), 1.0)  # of float32
        found = (self.measured.lowest, self.measured.highest)
        return None if low - slack <= found[0] and found[1] <= high + slack else found

    def refused(self, reason: str) -> "SeriesCheck":
        """The same series, refused."""
        return replace(self, ref=replace(self.ref, status="refused", reason=reason))
