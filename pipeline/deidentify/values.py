"""Values of elements outside the table: kept where they cannot identify anyone, by VR (PS3.5 6.2); and dummies."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import DataElement
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from pipeline.deidentify.identities import names_someone
from pipeline.deidentify.kept import DUMMY_TEXT, EMPTY_TEXT, LOOKUP_TABLES, TEXT
from pipeline.deidentify.secret import Secret
from pipeline.deidentify.vocabulary import names_body_part

BINARY_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
NUMBER_TEXT = {
    "IS": re.compile(r" *[+-]?\d{1,12} *"),
    "DS": re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})? *"),
}
CODE_STRING = re.compile(r"(?!.*\d{6})[A-Z0-9 _]{0,16}")  # no code has a number as long as an id or a date
PLAIN_TEXT = re.compile(r"[ -~]{0,64}")
MODALITY, BODY_PART = 0x00080060, 0x00180015
OTHER = "OTHER"
DUMMIES: dict[str, Any] = {
    "AE": "REMOVED",
    "AS": "000Y",
    "CS": "REMOVED",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "LO": "REMOVED",
    "LT": "REMOVED",
    "OB": b"\0\0",
    "PN": "REMOVED",
    "SH": "REMOVED",
    "ST": "REMOVED",
    "TM": "000000",
    "UC": "REMOVED",
    "UN": b"\0\0",
    "UR": "urn:removed",
    "UT": "REMOVED",
}


def vrs_of(tag: int) -> tuple[str, ...]:
    """The VRs that the data dictionary allows for a standard element."""
    return tuple(dictionary_VR(tag).split(" or "))


def dummy(tag: int, vr: str) -> DataElement | None:
    """An element of the same VR that says nothing; None for a VR of numbers."""
    return DataElement(Tag(tag), vr, DUMMIES[vr]) if vr in DUMMIES else None


def components(element: DataElement) -> list[Any]:
    """The values of an element, one where it holds one, none where it is empty."""
    value = element.value
    if isinstance(value, (MultiValue, list, tuple)):
        return list(value)
    return [] if value is None or value in ("", b"") else [value]


def clean_value(
    element: DataElement, secret: Secret, identities: Sequence[str] | frozenset[str], *, little_endian: bool
) -> DataElement | None:
    """The element where its value identifies no one, or as much of it as does not; None to remove it.

    Args:
        element: Of the data dictionary, not in the table, no sequence; its VR may be another than the dictionary's.
        secret: Replaces UIDs.
        identities: Words that must not be kept.
        little_endian: Byte order of the source, for bulk data.
    """
    tag, vr = int(element.tag), str(element.VR)
    values = components(element)
    if vr not in vrs_of(tag) or len(values) > _most(tag):
        return _empty_number(tag)
    if not values:
        return DataElement(element.tag, vr, None)
    if vr in BINARY_NUMBERS:
        return element
    if vr in NUMBER_TEXT:
        return element if all(NUMBER_TEXT[vr].fullmatch(_written(value)) for value in values) else _empty_number(tag)
    if vr == "UI":
        return DataElement(element.tag, vr, [secret.uid(str(value)) for value in values])
    if vr == "CS":
        return _code_string(element, values, identities)
    if tag in LOOKUP_TABLES:
        return DataElement(element.tag, "OW", _little(bytes(element.value), little_endian))
    return _text(element, values, identities)


def plain(text: str, identities: Sequence[str] | frozenset[str]) -> bool:
    """Whether a text is one short line of ASCII that names no one."""
    return PLAIN_TEXT.fullmatch(text) is not None and not names_someone(text, identities)


def _empty_number(tag: int) -> DataElement | None:
    """An element without value, which type 2 needs; None where the data dictionary asks for no number."""
    vr = vrs_of(tag)[0]
    return DataElement(Tag(tag), vr, None) if vr in BINARY_NUMBERS or vr in NUMBER_TEXT else None


def _most(tag: int) -> float:
    """How many values the data dictionary allows at most."""
    most = dictionary_VM(tag).split("-")[-1]
    return float(most) if most.isdigit() else float("inf")


def _written(value: Any) -> str:
    return str(getattr(value, "original_string", None) or value)


def _little(value: bytes, little_endian: bool) -> bytes:
    return value if little_endian else np.frombuffer(value[: len(value) // 2 * 2], ">u2").astype("<u2").tobytes()


def _code_string(
    element: DataElement, values: list[Any], identities: Sequence[str] | frozenset[str]
) -> DataElement | None:
    right = [
        CODE_STRING.fullmatch(str(value)) is not None and not names_someone(str(value), identities) for value in values
    ]
    if int(element.tag) == MODALITY:
        return element if all(right) else DataElement(element.tag, "CS", "OT")
    if int(element.tag) == BODY_PART and not names_body_part(str(element.value)):
        return None
    if not any(right):
        return DataElement(element.tag, "CS", None)
    return DataElement(element.tag, "CS", [v if ok else OTHER for v, ok in zip(values, right, strict=True)])


def _text(element: DataElement, values: list[Any], identities: Sequence[str] | frozenset[str]) -> DataElement | None:
    tag = int(element.tag)
    if tag in TEXT and all(plain(str(value), identities) for value in values):
        return element
    if tag in DUMMY_TEXT or tag in TEXT:
        return dummy(tag, str(element.VR))
    return DataElement(element.tag, element.VR, None) if tag in EMPTY_TEXT else None
