"""One compressed frame to stored values. Runs in a worker process: decoders are C code, and codestreams are hostile."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder, get_decoder

from pipeline.errors import Reason, ScanError
from pipeline.ingest.encapsulated import declared_size
from pipeline.ingest.layout import PixelLayout, Stored, extend
from pipeline.ingest.syntaxes import DECODERS, DEFLATED_FRAMES

JPEG_LS = frozenset({str(uid.JPEGLSLossless), str(uid.JPEGLSNearLossless)})


def decode_codestream(codestream: bytes, layout: PixelLayout) -> Stored:
    """Decode one frame.

    Returns:
        Stored values, shape (rows, columns), or (rows, columns, 3) red, green, blue; palette indices stay indices.

    Raises:
        ScanError: OVER_BUDGET, CORRUPT_FILE or DECODE_FAILED if the codestream's own size is not the header's.
    """
    if layout.syntax == DEFLATED_FRAMES:
        return _inflated(codestream, layout)
    _require_size(codestream, layout)
    return _cut(_decoded(codestream, layout), layout)


def _decoded(codestream: bytes, layout: PixelLayout) -> Stored:
    decoder, dataset = decoder_for(layout.syntax), layout.dataset(encapsulate([codestream]), 1)
    try:
        return decoder.as_array(dataset, decoding_plugin=DECODERS[layout.syntax])[0]
    except RuntimeError:
        if layout.syntax != uid.RLELossless:
            raise
        return decoder.as_array(dataset, decoding_plugin="pydicom")[0]  # slow, but bears with uneven segments


def _cut(stored: Stored, layout: PixelLayout) -> Stored:
    """Grey values of JPEG-LS cut to their Bits Stored and with their sign, which other decoders see to."""
    bits = 8 * stored.dtype.itemsize
    if layout.syntax not in JPEG_LS or stored.ndim != 2 or layout.stored >= bits:
        return stored
    whole = dataclasses.replace(layout, allocated=bits, high=layout.stored - 1)
    return extend(stored.view(f"<u{stored.dtype.itemsize}"), whole)


def _inflated(codestream: bytes, layout: PixelLayout) -> Stored:
    """One deflated frame; what would inflate beyond the frame's size is not inflated.

    Source:
        DICOM PS3.5 A.4.13 and RFC 1951.
    """
    bits = layout.rows * layout.columns * layout.samples * layout.allocated
    needed = -(-bits // 8)
    pixels = zlib.decompressobj(-zlib.MAX_WBITS).decompress(codestream, needed + needed % 2)
    if len(pixels) < needed:
        raise ScanError(Reason.TRUNCATED_PIXELS, f"{len(pixels)} bytes of a frame of {needed}")
    native = dataclasses.replace(layout, syntax=str(uid.ExplicitVRLittleEndian), frames=1, vr="OW")
    return get_decoder(uid.ExplicitVRLittleEndian).as_array(native.dataset(pixels, 1))[0]


def decoder_for(syntax: str) -> Decoder:
    """The decoder that pydicom has for a transfer syntax, with our plugin for the JPEG family."""
    decoder = get_decoder(uid.UID(syntax))
    if DECODERS.get(syntax) == "imagecodecs" and "imagecodecs" not in decoder.available_plugins:
        decoder.add_plugin("imagecodecs", ("pipeline.ingest.imagecodecs_plugin", "decode_frame"))
    return decoder


def layout_from(record: Mapping[str, Any]) -> PixelLayout:
    """The layout that the parent sent."""
    return PixelLayout(**record)


def _require_size(codestream: bytes, layout: PixelLayout) -> None:
    """Compare the codestream's own size with the header, before a decoder allocates it."""
    if layout.syntax == uid.RLELossless:  # which declares no size
        return
    size = declared_size(codestream)
    if size is None:
        raise ScanError(Reason.DECODE_FAILED, "a frame does not declare its size")
    if size != (layout.columns, layout.rows):
        raise ScanError(
            Reason.CORRUPT_FILE,
            f"codestream of {size[0]}x{size[1]}, expected {layout.columns}x{layout.rows} as in the header",
        )
