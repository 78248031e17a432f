"""What the header says of each frame: plain headers and functional groups of multi-frame objects alike."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from pydicom.multival import MultiValue

from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import Header
from pipeline.ingest.facts import FrameFacts, Vector

IN_STACK_POSITION = 0x00209057
FRAME_TAGS = (0x00209056, IN_STACK_POSITION, 0x00200032)  # stack id and positions: no key of their own
MAX_FRAMES = 100_000


class FrameHeader:
    """One frame's view of a data set: its own functional group first, then the shared one, then the top level.

    Source:
        DICOM PS3.3 C.7.6.16, Multi-frame Functional Groups.
    """

    def __init__(self, dataset: Header, index: int, known: dict[str, Any] | None = None) -> None:
        """Look at one frame.

        Args:
            dataset: The file's.
            index: Number of the frame.
            known: Values of the top level, shared by the frames of a data set: it may have 100,000 of them.
        """
        self._dataset = dataset
        self._known = {} if known is None else known
        own = self._top("PerFrameFunctionalGroupsSequence") or ()
        shared = self._top("SharedFunctionalGroupsSequence") or ()
        self._groups = [*own[index : index + 1], *shared[:1]]

    def _top(self, keyword: str) -> Any:
        """The value of an element at the top level, else None."""
        if keyword not in self._known:
            self._known[keyword] = self._dataset.get(keyword)
        return self._known[keyword]

    def get(self, keyword: str, sequence: str = "") -> Any:
        """The value of an element in a functional group, else at the top level, else None."""
        for group in self._groups:
            items = group.get(sequence) if sequence else None
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return self._top(keyword)

    def numbers(self, keyword: str, count: int, sequence: str = "") -> Vector | None:
        """The value as `count` finite numbers; None where it is absent or empty.

        Raises:
            ScanError: CORRUPT_HEADER if it is there but is not that.
        """
        value = self.get(keyword, sequence)
        if value is None or value == "" or (isinstance(value, MultiValue) and not value):
            return None
        try:
            items = value if isinstance(value, (MultiValue, list, tuple)) else [value]
            numbers = tuple(float(item) for item in items)
        except (TypeError, ValueError) as error:
            raise ScanError(Reason.CORRUPT_HEADER, f"{keyword} holds no numbers") from error
        if len(numbers) < count or not all(map(math.isfinite, numbers)):
            raise ScanError(Reason.CORRUPT_HEADER, f"{keyword} does not hold {count} finite numbers")
        return numbers[:count]

    def position(self) -> Vector | None:
        """Image Position (Patient); many frames of an object without functional groups cannot share one."""
        if not self._groups and frame_count(self._dataset) > 1:
            return None
        return self.numbers("ImagePositionPatient", 3, "PlanePositionSequence")

    def number(self, keyword: str, sequence: str = "") -> float | None:
        """The first number of a value; None where it is absent, empty or no number."""
        try:
            found = self.numbers(keyword, 1, sequence)
        except ScanError:
            return None
        return found[0] if found else None

    @property
    def little_endian(self) -> bool:
        """Byte order in which the data set was read."""
        return self._dataset.original_encoding[1] is not False

    def rescale(self) -> tuple[float, float]:
        """Rescale Slope and Intercept; 1 and 0 where there are none."""
        slope = self.numbers("RescaleSlope", 1, "PixelValueTransformationSequence")
        intercept = self.numbers("RescaleIntercept", 1, "PixelValueTransformationSequence")
        return (slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)


def frame_count(dataset: Header) -> int:
    """Number of Frames; 1 where absent.

    Raises:
        ScanError: CORRUPT_HEADER if it is no positive number, OVER_BUDGET if it is absurd.
    """
    value = dataset.get("NumberOfFrames")
    if value in (None, ""):
        return 1
    try:
        frames = int(value)
    except (TypeError, ValueError) as error:
        raise ScanError(Reason.CORRUPT_HEADER, "Number of Frames is no number") from error
    if frames < 1:
        raise ScanError(Reason.CORRUPT_HEADER, f"Number of Frames is {frames}, expected 1 or more")
    if frames > MAX_FRAMES:
        raise ScanError(Reason.OVER_BUDGET, f"{frames} frames declared, at most {MAX_FRAMES} are read")
    return frames


def frame_facts(dataset: Header) -> tuple[FrameFacts, ...]:
    """Geometry and grouping of every frame of a data set.

    Raises:
        ScanError: CORRUPT_HEADER for a value that is not what the standard says.
    """
    count = frame_count(dataset)
    if "PerFrameFunctionalGroupsSequence" not in dataset:  # nothing tells them apart
        first = _frame(dataset, 0, {})
        return (first, *(dataclasses.replace(first, index=index) for index in range(1, count)))
    known: dict[str, Any] = {}
    return tuple(_frame(dataset, index, known) for index in range(count))


def _frame(dataset: Header, index: int, known: dict[str, Any]) -> FrameFacts:
    header = FrameHeader(dataset, index, known)
    spacing = header.numbers("PixelSpacing", 2, "PixelMeasuresSequence")
    instance = header.number("InstanceNumber")
    return FrameFacts(
        index=index,
        position=header.position(),
        orientation=header.numbers("ImageOrientationPatient", 6, "PlaneOrientationSequence"),
        spacing=spacing,
        depth=_depth(header),
        key=_key(header),
        ties=_ties(header, dataset),
        meaning=_meaning(header),
        instance=int(instance or 0),
    )


def _depth(header: FrameHeader) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        step = abs(header.number(keyword, "PixelMeasuresSequence") or 0.0)
        if step > 0:
            return step
    return 1.0


def _key(header: FrameHeader) -> tuple[str, ...]:
    """What frames of one volume share, apart from orientation and spacing, compared with a tolerance."""
    echo_time = header.number("EffectiveEchoTime", "MREchoSequence") or header.number("EchoTime")
    return (
        _text(header.get("FrameOfReferenceUID")),
        _text(header.get("Rows")),
        _text(header.get("Columns")),
        _text(header.get("SamplesPerPixel")),
        _text(None if echo_time is None else round(echo_time, 3)),
        _text(header.get("EchoNumbers")),
        _text(header.get("TemporalPositionIdentifier")),
        _text(header.get("TemporalPositionIndex", "FrameContentSequence")),
        _text(header.get("StackID", "FrameContentSequence")),
    )


def _ties(header: FrameHeader, dataset: Header) -> tuple[str, ...]:
    """What may tell frames at one position apart, most trusted first."""
    gradient = "MRDiffusionSequence"
    return (
        _text(header.get("AcquisitionNumber")),
        _text(header.get("FrameType", "MRImageFrameTypeSequence") or header.get("ImageType")),
        _text([header.get("DiffusionBValue", gradient), header.get("DiffusionGradientOrientation", gradient)]),
        _text(header.number("TriggerTime")),
        _text(header.number("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence")),
        _text(header.number("InversionTime")),
        _text(header.number("FlipAngle", "MRTimingAndRelatedParametersSequence")),
        _text(header.number("FrameReferenceTime")),
        _text(_dimensions(header, dataset)),
    )


def _meaning(header: FrameHeader) -> str:
    """What turns stored bytes into values, so that equal bytes are known to be equal values."""
    table = header.get("ModalityLUTSequence")
    stored = [_text(header.get(keyword)) for keyword in ("BitsStored", "HighBit", "PixelRepresentation")]
    entries = hashlib.sha256(str(table[0].get("LUTData")).encode()).hexdigest() if table else ""
    return json.dumps([*header.rescale(), *stored, entries])


def _dimensions(header: FrameHeader, dataset: Header) -> Sequence[Any]:
    """The frame's dimension indices, without those that count its position."""
    values = header.get("DimensionIndexValues", "FrameContentSequence")
    pointers = [item.get("DimensionIndexPointer") for item in dataset.get("DimensionIndexSequence") or ()]
    listed = values if isinstance(values, (MultiValue, list)) else [values]  # a list where the numbers are binary
    return [value for value, pointer in zip(listed, pointers, strict=False) if pointer not in FRAME_TAGS]


def _text(value: Any) -> str:
    """A value as text; numbers spelt in one way, since 01 and 1 are the same echo."""
    if isinstance(value, (MultiValue, list)):
        return str([_text(item) for item in value])
    if isinstance(value, (int, float)):
        number = float(value)
        return str(int(number)) if number.is_integer() else str(number)
    return "" if value is None else str(value)
