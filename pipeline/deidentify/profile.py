"""What the profile asks for each element: table E.1-1 of PS3.15, and what ScanShift adds to it.

The table's rows come from the package dicom-anonymizer as data; its engine is not used. Elements outside the table
are kept by the standard; here only those are whose value cannot be free text (`values`), or that are listed in `kept`.
"""

from enum import StrEnum

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_has_tag, dictionary_is_retired, tag_for_keyword

EDITION = "PS3.15 2026c"


class Action(StrEnum):
    """What happens to one element; the letters are those of PS3.15 E.1."""

    DUMMY = "D"
    EMPTY = "Z"
    REMOVE = "X"
    REPLACE_UID = "U"
    CLEAN = "C"
    """Not in the table: kept if its value cannot identify anyone; sequences are walked."""
    WALK = "W"
    """A sequence of the table that the object needs: its items are walked, all UIDs in it replaced."""
    PATIENT = "P"
    """Replaced by the patient's pseudonym."""


# Combined codes leave the choice to what the object needs (PS3.3 type 1, 2 or 3). A dummy is valid at each of them,
# so X/D and the like become D; a date that some objects may do without is removed instead, since a dummy date misleads.
COMBINED: dict[str, Action] = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.REPLACE_UID,
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    "X_Z_U_STAR_TAGS": Action.WALK,
}
# Type 3 wherever they occur, so that the X of their combined code is right.
DISPENSABLE = (
    "InstanceCreationDate",
    "InstanceCreationTime",
    "SeriesDate",
    "SeriesTime",
    "DateOfLastDetectorCalibration",
    "TimeOfLastDetectorCalibration",
    "ObservationDateTime",
    "OperatorIdentificationSequence",
    "InstitutionCodeSequence",
    "ReferencedStudySequence",
    "WaveformAnnotationSequence",
    "BarcodeValue",
    "RequestedProcedureDescription",
    "PatientSexNeutered",
)
# What people type or draw, and who gave out an identifier, beyond the table.
TYPED = (
    "AssigningFacilitySequence",
    "CodingSchemeIdentificationSequence",
    "EncryptedAttributesSequence",
    "GraphicAnnotationSequence",
    "GraphicLayer",
    "GraphicLayerSequence",
    "IssuerOfAccessionNumberSequence",
    "IssuerOfPatientIDQualifiersSequence",
    "MACParametersSequence",
    "OrderFillerIdentifierSequence",
    "OrderPlacerIdentifierSequence",
)
# Sequences whose content the object needs; the items are walked like the data set itself.
NEEDED = (
    "ContentSequence",
    "FlowIdentifierSequence",
    "VerifyingObserverSequence",
    "ReferencedPerformedProcedureStepSequence",
    "ReferencedImageSequence",
    "SourceImageSequence",
)


def _table() -> dict[int, Action]:
    rows: dict[int, Action] = {}
    for name, action in COMBINED.items():
        for tag in getattr(table, name):
            if len(tag) == 2:  # the others stand for private, curve and overlay groups, which go as a whole
                rows[tag[0] << 16 | tag[1]] = action
    for keywords, action in ((DISPENSABLE + TYPED, Action.REMOVE), (NEEDED, Action.WALK)):
        rows.update({_tag(keyword): action for keyword in keywords})
    rows[_tag("OperatorsName")] = Action.EMPTY  # type 2 at most
    rows.update({_tag("PatientID"): Action.PATIENT, _tag("PatientName"): Action.PATIENT})
    return rows


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(f"{keyword}: not in the data dictionary")
    return tag


def tags_of(keywords: tuple[str, ...]) -> frozenset[int]:
    """The tags of DICOM keywords."""
    return frozenset(_tag(keyword) for keyword in keywords)


TABLE = _table()


def action_for(tag: int) -> Action:
    """What happens to an element at any depth.

    Private elements, group lengths, curves (50xx), overlays (60xx), padding, and whatever the data dictionary does not
    know or calls retired, are removed.
    """
    group = tag >> 16
    if group % 2 or group < 8 or tag & 0xFFFF == 0 or not dictionary_has_tag(tag):
        return Action.REMOVE
    if tag in TABLE:
        return TABLE[tag]
    return Action.REMOVE if dictionary_is_retired(tag) or group >= 0xFFFA else Action.CLEAN
