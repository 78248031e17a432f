"""Text that comes from a header or a reason, made fit for a page that many may read."""

import re

from pipeline.scan import SeriesRef

LONGEST = 300
UID_LIKE = re.compile(r"\d+(?:\.\d+){3,}")
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
HIDDEN = "(not shown)"


def shown(text: str) -> str:
    """The text on one line, without control characters, and without anything that looks like a UID."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return UID_LIKE.sub("(UID)", " ".join(printable.split()))[:LONGEST]


def shown_code(text: str) -> str:
    """A DICOM code string such as a Modality; `other` where a header holds something else there.

    Source:
        DICOM PS3.5 table 6.2-1, CS: at most 16 of upper case, digits, space and underscore.
    """
    return text if CODE_STRING.fullmatch(text) else "other"


def shown_reason(ref: SeriesRef) -> str:
    """Why a series was refused or ignored; what the words quote from a header stays if it is a code string."""
    reason = ref.reason
    if ref.modality and shown_code(ref.modality) != ref.modality:
        reason = reason.replace(ref.modality, HIDDEN)
    return shown(QUOTED.sub(_quoted, reason))


def _quoted(match: re.Match[str]) -> str:
    return match.group() if CODE_STRING.fullmatch(match.group()[1:-1]) else HIDDEN
