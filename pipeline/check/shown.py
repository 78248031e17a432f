"""Text that comes from a header or a reason, made fit for a page that many may read."""

import re

LONGEST = 300
UID_LIKE = re.compile(r"\d+(?:\.\d+){3,}")
CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")


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
