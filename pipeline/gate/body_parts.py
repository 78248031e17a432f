"""Which regions of the body a header's body part means, so that two of them can be compared."""

import re

Regions = frozenset[str]

# First words of Body Part Examined (0018,0015) and the regions that an image of it shows, also of its neighbours
WORDS: dict[str, tuple[str, ...]] = {
    "chest": ("CHEST", "THORAX", "LUNG", "LUNGS", "RIB", "RIBS", "HEART", "MEDIASTINUM", "BRONCHUS", "STERNUM"),
    "abdomen": ("ABDOMEN", "ABD", "LIVER", "KIDNEY", "PANCREAS", "SPLEEN", "STOMACH", "ADRENAL", "GALLBLADDER"),
    "pelvis": ("PELVIS", "PROSTATE", "BLADDER", "UTERUS", "RECTUM"),
    "head": ("HEAD", "SKULL", "BRAIN", "JAW", "ORBIT", "SINUS", "SINUSES", "NOSE", "FACE", "MANDIBLE", "EYE"),
    "neck": ("NECK", "THYROID", "LARYNX", "PHARYNX"),
    "arm": ("HAND", "FINGER", "THUMB", "WRIST", "FOREARM", "ELBOW", "HUMERUS", "ARM"),
    "leg": ("FOOT", "TOE", "ANKLE", "LEG", "KNEE", "FEMUR", "CALCANEUS", "HEEL", "TIBIA", "FIBULA", "PATELLA"),
    "neck spine": ("CSPINE", "CERVICALSPINE"),
    "chest spine": ("TSPINE", "THORACICSPINE"),
    "abdomen spine": ("LSPINE", "LUMBARSPINE"),
    "pelvis spine": ("SSPINE", "SACRUM", "COCCYX"),
    "neck chest abdomen spine": ("SPINE",),
    "arm chest": ("SHOULDER", "CLAVICLE", "SCAPULA"),
    "chest breast": ("BREAST",),
    "leg pelvis": ("HIP",),
    "arm leg": ("EXTREMITY",),
    "head neck chest abdomen pelvis spine arm leg": ("WHOLEBODY",),
}
KNOWN: dict[str, Regions] = {word: frozenset(regions.split()) for regions, words in WORDS.items() for word in words}
BESIDE = frozenset({"PORT", "PORTABLE", "LEFT", "RIGHT", "BILATERAL", "L", "R", "AP", "PA", "LAT"})


def regions_of(body_part: str) -> Regions | None:
    """The regions of a body part; None where a word of it is not known.

    Source:
        DICOM PS3.16 annex L, Correspondence of Anatomic Region Codes and Body Part Examined Defined Terms; the regions
        are ours.
    """
    words = [word for word in re.split(r"[^A-Z]+", body_part.upper()) if word and word not in BESIDE]
    together = KNOWN.get("".join(words))
    if together is not None:
        return together
    each = [KNOWN.get(word) for word in words]
    return frozenset[str]().union(*(one for one in each if one)) if each and all(each) else None
