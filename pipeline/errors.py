"""What can go wrong in `pipeline`, and the reason codes that every refusal carries.

Messages say where, what was found and what would be right; they never hold a patient's name, date or id.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a file or series was refused, failed, ignored or referred. Listed in docs/reference/reasons.md."""

    EMPTY_FILE = "EMPTY_FILE"
    UNREADABLE = "UNREADABLE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    NOT_DICOM = "NOT_DICOM"
    CORRUPT_HEADER = "CORRUPT_HEADER"
    UNSUPPORTED_OBJECT = "UNSUPPORTED_OBJECT"
    UNSUPPORTED_SYNTAX = "UNSUPPORTED_SYNTAX"
    UNSUPPORTED_COLOUR = "UNSUPPORTED_COLOUR"
    UNSUPPORTED_GEOMETRY = "UNSUPPORTED_GEOMETRY"
    NO_PIXELS = "NO_PIXELS"
    TRUNCATED_PIXELS = "TRUNCATED_PIXELS"
    TRUNCATED_FILE = "TRUNCATED_FILE"
    CORRUPT_FILE = "CORRUPT_FILE"
    OVER_BUDGET = "OVER_BUDGET"
    DECODE_FAILED = "DECODE_FAILED"
    DECODE_KILLED = "DECODE_KILLED"
    NOT_FINITE = "NOT_FINITE"
    NO_CONTRAST = "NO_CONTRAST"
    NO_POSITION = "NO_POSITION"
    DUPLICATE_POSITION = "DUPLICATE_POSITION"
    MISSING_SLICE = "MISSING_SLICE"
    UNEVEN_SPACING = "UNEVEN_SPACING"
    MIXED_SHAPES = "MIXED_SHAPES"
    NIFTI_FORMS_DISAGREE = "NIFTI_FORMS_DISAGREE"
    NIFTI_NO_FORM = "NIFTI_NO_FORM"
    DUPLICATE_FILE = "DUPLICATE_FILE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    LOCALIZER = "LOCALIZER"
    LINK_OUTSIDE = "LINK_OUTSIDE"
    ARCHIVE = "ARCHIVE"
    CHANGED_FILE = "CHANGED_FILE"
    BURNED_IN = "BURNED_IN"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    HEADER_RANGE = "HEADER_RANGE"
    UNCERTAIN = "UNCERTAIN"


class PipelineError(Exception):
    """Base of every error that `pipeline` raises on purpose."""


class ScanError(PipelineError, ValueError):
    """A file or series that cannot be trusted.

    Attributes:
        code: The reason, for programs.
        words: The reason, for people: what was found and what would be right.
    """

    def __init__(self, code: Reason, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words

    def __reduce__(self) -> tuple[type["ScanError"], tuple[Reason, str]]:
        return (type(self), (self.code, self.words))


class ConfigError(PipelineError, ValueError):
    """A configuration with an unknown key or a value out of range."""


class LabelsError(PipelineError, ValueError):
    """A labels.csv that cannot be used."""


class CohortError(PipelineError, ValueError):
    """Scans and labels from which nothing can be learned or measured, such as one class only."""


class MapError(PipelineError, ValueError):
    """A heat-map that does not fit its scan, is not finite, or cannot be written as asked for."""


class ResultError(PipelineError, ValueError):
    """A series whose result cannot be written as a DICOM object."""


class PolicyError(PipelineError, ValueError):
    """A decision policy that cannot be read, or scores from which it cannot be met."""


class ShiftError(PipelineError, ValueError):
    """Scans between which no shift can be measured, such as features that are not finite."""


class LeakageError(PipelineError, ValueError):
    """A patient on two sides of a split."""


class SourceError(PipelineError, FileNotFoundError):
    """A path that is missing, unreadable or holds nothing to work on."""


class DiskSpaceError(PipelineError, OSError):
    """Too little free disk space for what the run will write."""


class KeyFileError(PipelineError, ValueError):
    """A key file that cannot be read, or holds no key."""


class DiaryError(PipelineError, ValueError):
    """A drift diary that cannot be read."""


class BusyError(PipelineError, RuntimeError):
    """Another run holds the lock of the same output folder."""


class RefusedError(PipelineError):
    """A judgement: the run could finish but its result would not deserve trust."""


class CatalogError(PipelineError, ConnectionError):
    """A catalogue whose database cannot be reached."""


class RegistryError(PipelineError, LookupError):
    """A bundle that the model registry does not know, or that no longer lies where it says."""


class PacsError(PipelineError, ConnectionError):
    """A PACS that cannot be reached, or whose answer cannot be used.

    Attributes:
        again: Whether it may pass next time.
        status: HTTP status, if that is what was wrong.
    """

    def __init__(self, message: str, *, again: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.again = again
        self.status = status


class ClusterError(PipelineError, RuntimeError):
    """Machines that cannot score together, such as one that does not see the state folder."""


class TrainingError(PipelineError, ArithmeticError):
    """Training that went wrong, such as a loss that is not a number."""


class OutOfTimeError(PipelineError, RuntimeError):
    """A step of `strategy: auto` that would not be done within `time_budget`."""


class DivergedError(TrainingError):
    """A loss that is not a number; the message says at which step."""
