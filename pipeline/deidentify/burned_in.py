"""Which images may have text in their pixels, judged by what they say and what they are."""

from pydicom import Dataset
from pydicom.uid import UID

# Kinds whose text stands in overlays, headers or nowhere. Others, such as ultrasound, are not trusted without a word.
SAFE_MODALITIES = frozenset({"CR", "CT", "DX", "IO", "MG", "MR", "NM", "PT", "PX", "RTDOSE", "RTIMAGE", "SEG"})
UNSAFE_CLASSES = ("Secondary Capture", "Ultrasound", "Angiographic", "Radiofluoroscopic", "VL ")
SCREENS = ("SCREEN SAVE", "SCREENSHOT", "DOSE", "REPORT", "PASTED", "SNAPSHOT", "DISPLAY")


def burned_in(dataset: Dataset) -> str:
    """Why text may stand in the pixels of an object as read, in words; empty if there is no reason to think so.

    Source:
        Burned In Annotation (0028,0301): PS3.3 C.7.6.1.
    """
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if said == "NO":
        return ""
    if said:
        return "BurnedInAnnotation is YES, or no answer at all"
    name = UID(str(dataset.get("SOPClassUID"))).name
    if any(part in name for part in UNSAFE_CLASSES):
        return "BurnedInAnnotation is missing in a kind of object that often has text in its pixels"
    kinds = str(dataset.get("ImageType") or "").upper()
    if any(screen in kinds for screen in SCREENS):
        return "ImageType names a picture of a screen, and BurnedInAnnotation is missing"
    if str(dataset.get("Modality") or "") not in SAFE_MODALITIES:
        return "BurnedInAnnotation is missing in a modality that often has text in its pixels"
    return ""
