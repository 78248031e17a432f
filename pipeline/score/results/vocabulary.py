"""The codes of a result: public ones where there are such, a private scheme for the rest; any text as DICOM holds it.

Class names are the user's own words, so they get codes of the private scheme, made from the name.
"""

import hashlib
import unicodedata

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.score.origin import NAME

DESIGNATOR = "99SCANSHIFT"
LONG_STRING = 64  # of VR LO (PS3.5 6.2): characters, but validators count the bytes, so these are what is meant here
CUT = "..."

ANOMALY_SCORE = Code("ANOMALY_SCORE", DESIGNATOR, "Anomaly score")
ANOMALY_FROM = Code("ANOMALY_FROM", DESIGNATOR, "Anomaly score from which a scan is called abnormal")
DECISION = Code("DECISION", DESIGNATOR, "Decision")
PREDICTED = Code("PREDICTED_CLASS", DESIGNATOR, "Predicted class")
REFERRED = Code("REFERRED", DESIGNATOR, "Referred to a reader")
REASON = Code("REASON", DESIGNATOR, "Reason")
INTENDED_USE = Code("INTENDED_USE", DESIGNATOR, "Intended use")
SCORE_MEANING = Code("SCORE_MEANING", DESIGNATOR, "What the anomaly score is")
CALIBRATION = Code("CALIBRATION", DESIGNATOR, "Calibration")
POLICY = Code("POLICY", DESIGNATOR, "Decision policy")
EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")

PROBABILITY = Code("{probability}", "UCUM", "probability")
DECISIONS: dict[str, Code] = {
    "normal": Code("17621005", "SCT", "Normal"),
    "anomaly": Code("263654008", "SCT", "Abnormal"),
    "refer": Code("REFER", DESIGNATOR, "No decision: to be read by a person"),
}
YES, NO = codes.SCT.Yes, codes.SCT.No
IMAGING: Code = codes.cid100.ImagingProcedure
PROCEDURES: dict[str, Code] = {
    "CR": codes.cid100.XRUnspecifiedBodyRegion,
    "DX": codes.cid100.XRUnspecifiedBodyRegion,
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "NM": codes.cid100.NMUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
}


def procedure(modality: str) -> Code:
    """What was done, by the Modality of the images (CID 100)."""
    return PROCEDURES.get(modality, IMAGING)


def scheme() -> CodingSchemeIdentificationItem:
    """The private scheme's declaration (PS3.3 C.12.1.1.5)."""
    return CodingSchemeIdentificationItem(
        designator=DESIGNATOR, name=f"Private codes of {NAME}", version="1", responsible_organization=NAME
    )


def class_code(name: str) -> Code:
    """The code of a class: C and 12 hex digits of the name's SHA-256, since names may be longer than any code."""
    return Code(f"C{_digits(name)}", DESIGNATOR, long_string(name))


def probability_code(name: str) -> Code:
    """The code of a class's probability, with the digits of the class's own code."""
    return Code(f"P{_digits(name)}", DESIGNATOR, long_string(probability_words(name)))


def probability_words(name: str) -> str:
    """What the probability of a class is called."""
    return f"Probability of {name}"


def plain_text(text: str) -> str:
    """Any text as VR UT in UTF-8 can hold it: control characters are spaces, what is no character is `?`."""
    found = "".join(" " if unicodedata.category(one) == "Cc" else one for one in text)
    return found.encode(errors="replace").decode().strip() or "?"


def long_string(text: str) -> str:
    """Any text as one value of VR LO: plain, at most 64 bytes in UTF-8, without the backslash that parts values."""
    found = plain_text(text).replace("\\", "/")
    if len(found.encode()) <= LONG_STRING:
        return found
    return found.encode()[: LONG_STRING - len(CUT.encode())].decode(errors="ignore").rstrip() + CUT


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
