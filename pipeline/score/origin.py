"""Whose hand a DICOM object is from, and what it takes from the images that it is about."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR

from pipeline.scan import SeriesRef
from pipeline.workspace import pseudonym

NAME = "ScanShift"
UTF_8 = "ISO_IR 192"
TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
TYPE_2_TOO = ("StudyTime", "ReferringPhysicianName")
LARGEST = 2**31 - 1  # of VR IS


@dataclass(frozen=True, slots=True)
class Origin:
    """Who makes the object.

    Attributes:
        model: Digest of the bundle.
        key: Secret of the workspace, from which UIDs and names are derived, so that a rerun gives the same ones.
    """

    model: str
    key: bytes

    def uid(self, *parts: str) -> str:
        """A UID of some parts: 2.25. and the first 128 bits of their HMAC-SHA256."""
        digest = hmac.new(self.key, "|".join(("map", self.model, *parts)).encode(), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    def name(self, ref: SeriesRef) -> str:
        """What files about a series are called: a pseudonym, the same for every bundle."""
        return pseudonym(self.key, f"{ref.series_uid}|{ref.key}")


def equipment(serial: str) -> dict[str, Any]:
    """General Equipment (PS3.3 C.7.5.1) as highdicom's arguments; the serial number is the bundle's digest."""
    return {
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": version("scanshift"),
        "device_serial_number": serial,
    }


def series_number(source: pydicom.Dataset, added: int) -> int:
    """Number of a new series: that of the images, where it is one, and some thousands."""
    try:
        own = int(source.get("SeriesNumber") or 0)
    except (TypeError, ValueError, OverflowError):
        own = 0
    return min(max(own, 0), LARGEST - added) + added


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The headers of a series' files.

    highdicom refuses a sex, date or time that the standard does not know, and logs odd names; but every object of a
    study must name its patient alike. So these elements are set aside and put into what was made as they are.

    Attributes:
        headers: All elements before the pixels, with those of `TYPE_2` and `TYPE_2_TOO` empty.
        identity: These elements of the first file.
    """

    headers: list[pydicom.Dataset]
    identity: tuple[pydicom.DataElement, ...]

    @property
    def first(self) -> pydicom.Dataset:
        """Header of the first file."""
        return self.headers[0]

    def adopt(self, made: pydicom.Dataset) -> None:
        """Give an object made from the headers the patient and study of the images; its text is UTF-8 from here on."""
        for element in self.identity:
            made.add(element)
        made.SpecificCharacterSet = UTF_8
        for _ in made.iterall():  # decodes what was copied unread, in the character set of the images
            pass


def read_headers(files: Iterable[str]) -> Images:
    """The headers of a series' files; their libraries must be kept `quiet`."""
    headers: list[pydicom.Dataset] = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files]
    identity = tuple(
        headers[0][keyword] if keyword in headers[0] else pydicom.DataElement(keyword, dictionary_VR(keyword), None)
        for keyword in (*TYPE_2, *TYPE_2_TOO)
    )
    for header in headers:
        for keyword in (*TYPE_2, *TYPE_2_TOO):
            header.pop(keyword, None)  # an element itself must keep its value
            setattr(header, keyword, None)
    return Images(headers, identity)
