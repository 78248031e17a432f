"""Items of code sequences: a code of the standard is kept, with the standard's own words; others are replaced."""

import re
from functools import cache

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.sr.codedict import codes
from pydicom.tag import Tag

from pipeline.deidentify.secret import Secret
from pipeline.ingest.faults import FAULTS

LOCAL_SCHEME = "99SCANSHIFT"
UNKNOWN = "Not told"
CODE_TAGS = {0x00080100: 16, 0x00080119: 64}  # Code Value, Long Code Value
URN_CODE = 0x00080120
SCHEME = 0x00080102
# Code systems of which pydicom holds only what DICOM uses: their other codes pass by their form, without their words.
FORMS: dict[str, re.Pattern[str]] = {
    "DCM": re.compile(r"1[0-3]\d{4}"),
    "SCT": re.compile(r"[1-9]\d{5,17}"),
    "SRT": re.compile(r"[A-Z][0-9A-Z]?-[0-9A-F]{4,6}"),
    "SNM3": re.compile(r"[A-Z][0-9A-Z]?-[0-9A-F]{4,6}"),
    "LN": re.compile(r"\d{1,5}-\d"),
    "RADLEX": re.compile(r"RID\d{1,6}"),
    "FMA": re.compile(r"\d{4,6}"),
    "UMLS": re.compile(r"C\d{7}"),
    "I10": re.compile(r"[A-Z]\d\d(\.\d{1,2})?"),
    "I9C": re.compile(r"\d{3}(\.\d{1,2})?"),
    "UCUM": re.compile(
        r"(1|%|[umkcMGdhn]?(m|g|s|L|l|Bq|Gy|eV|Hz|V|A|T|J|W|mol|Sv)[23]?)([./](min|h|d|[umkc]?(m|g|s|L|l)[23]?)){0,3}"
    ),
}


def is_code(item: Dataset) -> bool:
    """Whether an item is an entry of the Code Sequence Macro (PS3.3 8.8)."""
    return any(tag in item for tag in (*CODE_TAGS, URN_CODE))


def clean_code(item: Dataset, secret: Secret) -> Dataset:
    """The entry with nothing but its code, scheme and a meaning that is not the source's own."""
    scheme, tag, value = _text(item, SCHEME), *_value(item)
    out = Dataset()
    meaning = _meanings(scheme).get(value)
    if meaning is None and not _well_formed(scheme, value):
        out.CodeValue = secret.code(scheme, value)
        out.CodingSchemeDesignator = LOCAL_SCHEME
        out.CodeMeaning = UNKNOWN
        return out
    out[Tag(tag)] = DataElement(Tag(tag), dictionary_VR(tag), value)
    out.CodingSchemeDesignator = scheme
    out.CodeMeaning = meaning or UNKNOWN
    return out


def _well_formed(scheme: str, value: str) -> bool:
    form = FORMS.get(scheme)
    return form is not None and form.fullmatch(value) is not None


@cache
def _meanings(scheme: str) -> dict[str, str]:
    """Code to meaning, of those that the standard's context groups use; they hold words of the standard only."""
    if scheme not in codes.schemes():
        return {}
    found: dict[str, str] = {}
    for code in getattr(codes, scheme).concepts.values():
        found.setdefault(code.value, code.meaning[:64])
    return found


def _value(item: Dataset) -> tuple[int, str]:
    for tag in CODE_TAGS:
        if text := _text(item, tag):
            return tag, text
    return next(iter(CODE_TAGS)), _text(item, URN_CODE)


def _text(item: Dataset, tag: int) -> str:
    try:
        return str(item[tag].value or "").strip() if tag in item else ""
    except FAULTS:
        return ""
