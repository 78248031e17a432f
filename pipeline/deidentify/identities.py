"""What identifies the patient, staff and place of one object, so that kept text can be checked against it."""

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.multival import MultiValue

from pipeline.deidentify.profile import tags_of
from pipeline.deidentify.vocabulary import WORDS, words_of
from pipeline.ingest.faults import FAULTS

NAMING = tags_of(
    (
        "AccessionNumber",
        "InstitutionAddress",
        "InstitutionName",
        "IssuerOfPatientID",
        "OtherPatientIDs",
        "PatientAddress",
        "PatientID",
        "PatientTelephoneNumbers",
    )
)
SHORTEST = 3
SHORTEST_WITHIN = 5


def identities_of(dataset: Dataset) -> frozenset[str]:
    """Words of all names, ids and addresses at any depth of an object, in lower case, and its dates.

    Words of the vocabulary are left out: a patient called Hand must not cost the body part.
    """
    return frozenset(word for word in _words(dataset) if len(word) >= SHORTEST and word not in WORDS)


def _words(dataset: Dataset) -> set[str]:
    found: set[str] = set()
    for tag in list(dataset.keys()):  # iterating the data set itself converts every value, and can raise
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        if vr not in ("PN", "SQ", "DA", "DT") and int(tag) not in NAMING:
            continue
        try:
            value = dataset[tag].value
            for part in value if vr == "SQ" or isinstance(value, MultiValue) else [value]:
                found |= _words(part) if vr == "SQ" else _dates(str(part)) if vr in ("DA", "DT") else _names(str(part))
        except FAULTS:
            continue
    return found


def _names(text: str) -> set[str]:
    """The words, and all of them in one, which is what an id such as 12-34-56 is known by."""
    words = words_of(text)
    return {*words, "".join(words)}


def _dates(text: str) -> set[str]:
    """A date as 20241231, 31122024 and 12312024."""
    digits = text.replace(".", "")[:8]
    year, month, day = digits[:4], digits[4:6], digits[6:]
    return {digits, day + month + year, month + day + year} if len(digits) == 8 and digits.isdecimal() else set()


def names_someone(text: str, identities: Iterable[str]) -> bool:
    """Whether a text holds one of the words; those of five letters or more count within and across words, too."""
    words = words_of(text)
    whole, joined = set(words), "".join(words)
    return any(word in whole or (len(word) >= SHORTEST_WITHIN and word in joined) for word in identities)
