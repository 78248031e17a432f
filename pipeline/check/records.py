"""The result of a check."""

from dataclasses import dataclass

from pipeline.check.codecs import DecoderHere, SyntaxFound
from pipeline.check.row import SeriesCheck
from pipeline.scan import Status


@dataclass(frozen=True, slots=True)
class Timing:
    """How long scoring would take, as measured while checking.

    Attributes:
        header_seconds: Finding the files and reading their headers.
        series: Number of series whose pixels were read.
        read_seconds: Reading those and, with a bundle, preparing them.
        device: Where the network ran; empty where it was not run.
        measured_batches: Batches that were timed, after a warm-up.
        batch_seconds: Of one of them; None where the network was not run.
        batches: Batches that scoring all of the series takes.
    """

    header_seconds: float
    series: int = 0
    read_seconds: float = 0.0
    device: str = ""
    measured_batches: int = 0
    batch_seconds: float | None = None
    batches: int = 0

    @property
    def network_seconds(self) -> float | None:
        """All batches; None where the network was not run."""
        return None if self.batch_seconds is None else self.batch_seconds * self.batches

    @property
    def total_seconds(self) -> float | None:
        """Headers, reading and network one after the other, which scoring does in part at once; None without one."""
        if self.network_seconds is None:
            return None
        return self.header_seconds + self.read_seconds + self.network_seconds


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """The bundle that was checked against.

    Attributes:
        digest: Of the bundle.
        kind, modality: What it is for.
        classes: Its classes.
        knows_training_set: Whether it says who was in training.
    """

    digest: str
    kind: str
    modality: str
    classes: tuple[str, ...]
    knows_training_set: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the series that would be scored overlap with a bundle's training set.

    Attributes:
        patients, patients_seen: Different patients by PatientID, and how many of them were in training.
        series, series_seen: Series, and how many of them were in training by their patient or their content.
        unknown: Series that name no patient, so that only their content was compared.
    """

    patients: int
    patients_seen: int
    series: int
    series_seen: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Check:
    """All that a check found.

    Attributes:
        rows: Every series, and every file or link that belongs to none.
        syntaxes: Transfer syntaxes of the DICOM files of the series.
        decoders: The decoder packages.
        bundle: None without one.
        timing: None where only headers were read.
        created: UTC time, ISO 8601.
        version: Of ScanShift.
    """

    rows: tuple[SeriesCheck, ...]
    syntaxes: tuple[SyntaxFound, ...]
    decoders: tuple[DecoderHere, ...]
    bundle: BundleFacts | None
    timing: Timing | None
    created: str
    version: str

    def of_status(self, status: Status) -> list[SeriesCheck]:
        """The rows of one status."""
        return [row for row in self.rows if row.ref.status == status]

    @property
    def overlap(self) -> "Overlap | None":
        """Who was in training; None without a bundle that says so."""
        if self.bundle is None or not self.bundle.knows_training_set:
            return None
        rows = [row for row in self.of_status("ok") if row.seen]
        known = [row for row in rows if row.seen and row.seen.patient is not None]
        return Overlap(
            patients=len({row.ref.patient for row in known}),
            patients_seen=len({row.ref.patient for row in known if row.seen and row.seen.patient}),
            series=len(rows),
            series_seen=sum(row.trained_on for row in rows),
            unknown=len(rows) - len(known),
        )
