"""The pixels of one object: refused, masked, or handed on without what is no pixel."""

from pydicom import DataElement, Dataset
from pydicom.tag import Tag

from pipeline.deidentify.burned_in import burned_in
from pipeline.deidentify.codestream import clean_encapsulated
from pipeline.deidentify.native import clean_native, layout_of
from pipeline.deidentify.options import Options
from pipeline.deidentify.profile import tags_of
from pipeline.errors import Reason, ScanError
from pipeline.ingest.dicom_file import DicomFile
from pipeline.ingest.syntaxes import NATIVE

PIXEL_DATA = 0x7FE00010
FLOATS: dict[int, tuple[int, str]] = {32: (0x7FE00008, "OF"), 64: (0x7FE00009, "OD")}
OVERLAYS = range(0x6000, 0x6020, 2)
BIT_POSITION = 0x0102
STRUCTURE = tags_of(
    (
        "BitsAllocated",
        "BitsStored",
        "Columns",
        "HighBit",
        "NumberOfFrames",
        "PhotometricInterpretation",
        "PixelRepresentation",
        "PlanarConfiguration",
        "Rows",
        "SamplesPerPixel",
    )
)


def add_pixels(file: DicomFile, source: Dataset, out: Dataset, options: Options) -> bool:
    """Put the pixels of an object into its cleaned data set.

    Args:
        file: The object's file.
        source: Its data set as read.
        out: Its data set, cleaned; changed here.
        options: With the rectangles to blacken where text may be burned in, or the user's word that none is.

    Returns:
        Whether rectangles were blackened.

    Raises:
        ScanError: BURNED_IN if text may stand in the pixels; or another code where they are missing or damaged.
    """
    if file.pixels is None:
        raise ScanError(Reason.NO_PIXELS, "an image without pixel data")
    if any(tag in source and (tag not in out or out[tag].is_empty) for tag in STRUCTURE):
        raise ScanError(Reason.CORRUPT_HEADER, "rows, columns, frames or bits of the image are no numbers")
    why = burned_in(source)
    masked = bool(why and options.masks)
    if why and not masked and not options.pixels_clean:
        raise ScanError(Reason.BURNED_IN, f"{why}; look at it, then mask the text or vouch for the pixels")
    if file.syntax in NATIVE:
        _add_native(file, out, options if masked else Options())
    else:
        if masked:
            raise ScanError(Reason.BURNED_IN, f"{why}; compressed pixels cannot be masked, export it uncompressed")
        _refuse_embedded_overlay(source)
        value = clean_encapsulated(file, layout_of(out))
        out[Tag(PIXEL_DATA)] = DataElement(Tag(PIXEL_DATA), "OB", value)
        out[Tag(PIXEL_DATA)].is_undefined_length = True
    if why:
        out.BurnedInAnnotation = "NO"
    return masked


def _add_native(file: DicomFile, out: Dataset, options: Options) -> None:
    if file.pixels is None or file.pixels.length is None:
        raise ScanError(Reason.CORRUPT_FILE, "fragments of compressed pixels in a file that says it is uncompressed")
    layout = layout_of(out)
    little_endian = file.dataset.original_encoding[1] is not False
    value = clean_native(file.pixel_bytes(), layout, little_endian=little_endian, masks=options.masks)
    tag, vr = PIXEL_DATA, "OW" if layout.allocated > 8 else "OB"
    if file.pixels.floating:
        tag, vr = FLOATS.get(layout.allocated, (0, ""))
        if not tag:
            raise ScanError(Reason.CORRUPT_HEADER, f"floating-point pixels of {layout.allocated} bits, not 32 or 64")
    out[Tag(tag)] = DataElement(Tag(tag), vr, value)


def _refuse_embedded_overlay(source: Dataset) -> None:
    """An overlay within compressed pixels cannot be cleared without decoding.

    Raises:
        ScanError: BURNED_IN if the header declares one.
    """
    for group in OVERLAYS:
        tag = Tag(group, BIT_POSITION)
        if tag in source and source[tag].value:
            raise ScanError(Reason.BURNED_IN, "an overlay within compressed pixels; export the image uncompressed")
