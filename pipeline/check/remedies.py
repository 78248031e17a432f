"""What would be right, for each reason code: the words of docs/reference/reasons.md, which a test compares."""

from pipeline.errors import Reason

REMEDIES: dict[Reason, str] = {
    Reason.EMPTY_FILE: "Export or copy it again.",
    Reason.UNREADABLE: "Give read permission; remove links that lead nowhere; unpack the archive yourself.",
    Reason.NOT_AN_IMAGE: "Nothing, if it is not meant to be one.",
    Reason.NOT_DICOM: "Export it again, or rename it.",
    Reason.ARCHIVE: "Use --archives, or unpack it into the folder.",
    Reason.LINK_OUTSIDE: "Give the other folder as a source of its own.",
    Reason.DUPLICATE_FILE: "Nothing.",
    Reason.TRUNCATED_FILE: "Copy or send it again.",
    Reason.CORRUPT_FILE: "Copy or send it again.",
    Reason.CHANGED_FILE: "Run again when nothing writes to the folder.",
    Reason.HEADER_RANGE: "Let a person decide; adapt with such scans.",
    Reason.UNCERTAIN: "Let a person decide.",
    Reason.CORRUPT_HEADER: "Export the study again.",
    Reason.NO_PIXELS: "Nothing; or send the image again.",
    Reason.UNSUPPORTED_OBJECT: "Export the images themselves; convert pairs to .nii.",
    Reason.UNSUPPORTED_SYNTAX: "Export in an uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000 syntax.",
    Reason.UNSUPPORTED_COLOUR: "Export the original images, not a rendering.",
    Reason.TRUNCATED_PIXELS: "Send the series again; no slice is dropped from it.",
    Reason.OVER_BUDGET: "Check the header; split what is truly that large.",
    Reason.DECODE_FAILED: "Export uncompressed, or send again.",
    Reason.DECODE_KILLED: "Export uncompressed, or send again.",
    Reason.NOT_FINITE: "Mask them before export.",
    Reason.NO_CONTRAST: "Check the exposure or the export.",
    Reason.NO_POSITION: "Export with the geometry kept.",
    Reason.DUPLICATE_POSITION: "Separate the series at the scanner or PACS.",
    Reason.MISSING_SLICE: "Send the missing slices.",
    Reason.UNEVEN_SPACING: "Reconstruct with even spacing.",
    Reason.UNSUPPORTED_GEOMETRY: "Export the study again.",
    Reason.MIXED_SHAPES: "Separate them; a DICOM series is split by size instead.",
    Reason.LOCALIZER: "Nothing.",
    Reason.NIFTI_FORMS_DISAGREE: "Set one of the two codes to 0.",
    Reason.NIFTI_NO_FORM: "Write the sform with its code.",
    Reason.BURNED_IN: "Look at it; then --mask the text, or vouch with --pixels-clean.",
    Reason.NEAR_DUPLICATE: (
        "Nothing; or give all rows of a patient one patient and one split; near_duplicates: list keeps such rows."
    ),
    Reason.NOT_APPLICABLE: "Use a model for this kind.",
}


def remedy(reason: str) -> str:
    """What would be right where a file or series has this reason (code, then words); empty where there is none."""
    code = reason.partition(":")[0]
    return REMEDIES.get(Reason(code), "") if code in set(Reason) else ""
