"""One compressed frame to stored values. Runs in a worker process: decoders are C code, and codestreams are hostile."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder, get_decoder

from pipeline.errors import Reason, ScanError
from pipeline.ingest.encapsulated import declared_size
from pipeline.ingest.layout import PixelLayout, Stored, extend
from pipeline.ingest.syntaxes import DECODERS, DEFLATED_FRAMES

JPEG_LS = frozenset({str(uid.JPEGLSLossless), str(uid.JPEGLSNearLossless)})
END_OF_IMAGE = b"\xff\xd9"
JUNK = b"\xb6\x5d\x93\xe5" * 24  # no marker, and no code that decodes as the zeros do that a decoder fills in


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
    decoded = _decoded(codestream, layout)
    if DECODERS[layout.syntax] == "imagecodecs" and layout.syntax != uid.RLELossless:
        _require_complete(decoded, codestream, layout)
    return _cut(decoded, layout)


def _decoded(codestream: bytes, layout: PixelLayout) -> Stored:
    decoder, dataset = decoder_for(layout.syntax), layout.dataset(encapsulate([codestream]), 1)
    try:
        return decoder.as_array(dataset, decoding_plugin=DECODERS[layout.syntax])[0]
    except RuntimeError:
        if layout.syntax != uid.RLELossless:
            raise
        return decoder.as_array(dataset, decoding_plugin="pydicom")[0]  # slow, but bears with uneven segments


def _require_complete(decoded: Stored, codestream: bytes, layout: PixelLayout) -> None:
    """Refuse a JPEG that ends before its last pixel, where these decoders fill in grey and say nothing.

    One that is complete decodes to the same pixels when junk follows it; one that is not takes the junk for pixels.
    """
    if not np.array_equal(decoded, _decoded(with_junk(codestream), layout)):
        raise ScanError(Reason.TRUNCATED_PIXELS, "a JPEG codestream ends before its last pixel")


def with_junk(codestream: bytes) -> bytes:
    """A JPEG codestream with junk put before its end, and every restart marker, so that none is waited for."""
    restarts = b"".join(JUNK + bytes((0xFF, 0xD0 + number)) for number in range(8))
    unpadded = codestream.rstrip(b"\0")
    begun = unpadded.removesuffix(END_OF_IMAGE) if unpadded.endswith(END_OF_IMAGE) else codestream
    return begun + restarts + JUNK + END_OF_IMAGE


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
