"""What the user of a run may choose, and how the choice is stamped into each object (PS3.16 CID 7050)."""

from dataclasses import dataclass
from typing import Literal

from pydicom import Dataset

from pipeline.deidentify.profile import EDITION

METHODS: dict[str, str] = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113109": "Retain Device Identity Option",
}


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of an image, in pixels counted from its upper left corner."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Options:
    """The options of PS3.15 that are applied.

    Attributes:
        dates: `remove`, or `shift`: set back by a number of days that each patient has.
        retain_device: Keep what tells one device from another.
        clean_descriptors: Keep those words of descriptions that are in a controlled vocabulary.
        masks: Blackened in images that have, or may have, text burned in.
        pixels_clean: The user vouches that no image has text burned in.
    """

    dates: Literal["remove", "shift"] = "remove"
    retain_device: bool = False
    clean_descriptors: bool = False
    masks: tuple[Rectangle, ...] = ()
    pixels_clean: bool = False

    def stamp(self, dataset: Dataset, *, masked: bool) -> None:
        """Write into a cleaned object that and how it was de-identified."""
        codes = ["113100"]
        if masked:
            codes.append("113101")
        if "ContentSequence" in dataset:
            codes.append("113104")
        if self.clean_descriptors:
            codes.append("113105")
        if self.dates == "shift":
            codes.append("113107")
        if self.retain_device:
            codes.append("113109")
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = f"ScanShift, {EDITION} Annex E"
        dataset.DeidentificationMethodCodeSequence = [_code(code) for code in codes]
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if self.dates == "shift" else "REMOVED"


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = METHODS[value]
    return item
