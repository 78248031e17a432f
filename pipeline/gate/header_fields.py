"""The header fields that are compared with those of training, and how each is read, written and allowed to differ."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.check.shown import HIDDEN
from pipeline.scan import SeriesRef
from pipeline.shift.acquisition import header_values
from pipeline.shift.domain import HeaderValue

AGE = "PatientAge (band)"
BODY_PART = "BodyPartExamined"
OLDEST = 119


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that is compared.

    Attributes:
        name: In words.
        unit: Of the number.
        slack: Factor beyond its range that a number may lie.
    """

    name: str
    unit: str
    slack: float


NUMBERS: dict[str, Quantity] = {
    "KVP (kV)": Quantity("tube voltage", "kV", 1.25),
    "Exposure (mAs)": Quantity("exposure", "mAs", 2.0),
    "ImagerPixelSpacing (mm)": Quantity("detector pixel spacing", "mm", 1.25),
    "PixelSpacing (mm)": Quantity("pixel spacing", "mm", 1.25),
    "SliceThickness (mm)": Quantity("slice thickness", "mm", 1.5),
    "MagneticFieldStrength (T)": Quantity("field strength", "T", 1.1),
}
WORDS: dict[str, str] = {
    "Manufacturer": "vendor",
    "ViewPosition": "view",
    "ImageLaterality": "laterality",
    "PatientSex": "sex",
    BODY_PART: "body part",
}
UNSAID = frozenset({"", HIDDEN, "other", "unknown"})
SEXES = frozenset({"M", "F"})  # any other says little of the anatomy


def stated(ref: SeriesRef) -> dict[str, float | str]:
    """What the header of a series states of the fields that are compared; nothing for files that are not DICOM."""
    if ref.format != "dicom":
        return {}
    values = header_values(ref)
    return {name: value for name in (*NUMBERS, *WORDS, AGE) if (value := _meant(name, values)) is not None}


def _meant(name: str, values: Mapping[str, HeaderValue]) -> float | str | None:
    value = values.get(name)
    if name in NUMBERS:
        return value if isinstance(value, float) and value > 0 else None  # 0 is what some write for unknown
    if not isinstance(value, str):
        return None
    word = first_word(value) if name == "Manufacturer" else value.strip()
    if word.lower() in UNSAID or value == HIDDEN or (name == "PatientSex" and word not in SEXES):
        return None
    return word


def first_word(text: str) -> str:
    """A manufacturer's first word in small letters: `Siemens Healthineers` and `SIEMENS` are one."""
    return next((word for word in re.split(r"[\W_]+", text.casefold()) if word), "")


def decade(band: str) -> int:
    """First year of an age band such as `40-49` or `90+`."""
    return int(re.split(r"[-+]", band)[0])


def band_words(low: int) -> str:
    """A decade of age in words."""
    return f"{low} to {low + 9} years" if low < 90 else "90 years or more"
