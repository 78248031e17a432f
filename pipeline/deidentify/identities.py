"""What identifies the patient, staff and place of one object, so that kept text can be checked against it."""

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR

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
    """Words of all names, ids and addresses at the top of an object, in lower case.

    Words of the vocabulary are left out: a patient called Hand must not cost the body part.
    """
    found: set[str] = set()
    for tag in dataset.keys():  # noqa: SIM118 - iterating the data set itself converts every value, and can raise
        if (dictionary_has_tag(tag) and dictionary_VR(tag) == "PN") or int(tag) in NAMING:
            try:
                found.update(words_of(str(dataset[tag].value)))
            except FAULTS:
                continue
    return frozenset(word for word in found if len(word) >= SHORTEST and word not in WORDS)


def names_someone(text: str, identities: Iterable[str]) -> bool:
    """Whether a text holds one of the words; those of five letters or more count within longer words, too."""
    words = set(words_of(text))
    plain = text.casefold()
    return any(word in words or (len(word) >= SHORTEST_WITHIN and word in plain) for word in identities)
