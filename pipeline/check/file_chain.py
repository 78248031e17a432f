"""Place and pixel chain of a volume that is one NIfTI file or one image."""

from contextlib import nullcontext
from pathlib import Path

from pipeline.check.chain import ChainStep, PixelChain, Range
from pipeline.check.geometry_proof import GeometryProof, prove_affine
from pipeline.ingest.gzip_stream import inflating
from pipeline.ingest.images import PNG
from pipeline.ingest.nifti import GZIP, HEADER_AT_MOST
from pipeline.ingest.nifti_header import NiftiHeader, header_size, parse_header
from pipeline.scan import SeriesRef

PNG_DEPTH_AT, PNG_COLOUR_AT, PNG_GREY = 24, 25, 0  # PNG (ISO/IEC 15948) 11.2.2, IHDR
AS_STORED = ChainStep("polarity", "never inverted")


def nifti_chain(ref: SeriesRef) -> tuple[GeometryProof, PixelChain]:
    """What the header of a NIfTI file says.

    Raises:
        ScanError: If the header cannot be trusted.
    """
    with Path(ref.files[0]).open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        with inflating(file) if packed else nullcontext(file) as stream:
            start = stream.read(HEADER_AT_MOST)
    header = parse_header(start)
    steps = (
        ChainStep("format", f"NIfTI-{1 if header_size(start) == 348 else 2}" + (", gzip with its CRC" * packed)),
        ChainStep("stored as", _number_words(header)),
        ChainStep("values", _scaling_words(header)),
        AS_STORED,
    )
    proof = prove_affine(header.affine, header.shape[2], "the affine of the header; sform and qform do not disagree")
    return proof, PixelChain(steps, _possible(header))


def image_chain(ref: SeriesRef) -> PixelChain:
    """What the first bytes of a PNG or JPEG say; nothing is decoded here."""
    with Path(ref.files[0]).open("rb") as file:
        start = file.read(PNG_COLOUR_AT + 1)
    png = start.startswith(PNG) and len(start) > PNG_COLOUR_AT
    depth = start[PNG_DEPTH_AT] if png else 8
    deep = png and depth == 16 and start[PNG_COLOUR_AT] == PNG_GREY
    steps = (
        ChainStep("format", "PNG" if png else "JPEG"),
        ChainStep("decoder", "pillow"),
        ChainStep("stored as", f"{depth} bits a channel"),
        ChainStep("values", f"{'0..65535' if deep else '0..255'}, turned upright as EXIF says"),
        AS_STORED,
    )
    return PixelChain(steps, (0.0, 65535.0 if deep else 255.0))


def _number_words(header: NiftiHeader) -> str:
    return "RGB, 8 bits each" if header.dtype.names else header.dtype.name


def _scaling_words(header: NiftiHeader) -> str:
    if header.slope == 1 and header.inter == 0:
        return "as stored, no scaling"
    return f"stored x {header.slope:g} {header.inter:+g}"


def _possible(header: NiftiHeader) -> Range | None:
    if header.dtype.names:
        return (0.0, 255.0)
    if header.dtype.kind not in "iu":
        return None
    levels = 2.0 ** (8 * header.dtype.itemsize)
    bottom = -levels / 2 if header.dtype.kind == "i" else 0.0
    ends = [header.slope * end + header.inter for end in (bottom, bottom + levels - 1)]
    return (min(ends), max(ends))
