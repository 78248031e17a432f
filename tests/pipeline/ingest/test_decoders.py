"""Compressed pixels against what was compressed; sizes are compared before anything is decoded."""

import io
import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pipeline.errors import ScanError
from pipeline.ingest.encapsulated import declared_size
from pipeline.ingest.layout import PixelLayout, extend
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.syntaxes import DEFLATED_FRAMES

IMAGE = np.random.default_rng(5).integers(0, 4096, (40, 56), dtype=np.uint16)
LOSSLESS = {
    JPEG2000Lossless: lambda image: imagecodecs.jpeg2k_encode(image, reversible=True, codecformat="j2k", level=0),
    HTJ2KLossless: lambda image: imagecodecs.htj2k_encode(image, reversible=True),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLosslessSV1: lambda image: imagecodecs.ljpeg_encode(image, bitspersample=12),
}


@pytest.fixture
def compressed(tmp_path, radiograph, write):
    """Writes a radiograph with the codestream given and returns its reference."""

    def build(syntax, codestream, **tags):
        ds = radiograph(IMAGE, **tags)
        ds.PixelData = encapsulate([codestream])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        write(ds, tmp_path / "a.dcm", syntax=syntax)
        (ref,) = scan_sources([tmp_path])
        return ref

    return build


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_lossless_is_exact(compressed, syntax):
    scan = read_scan(compressed(syntax, LOSSLESS[syntax](IMAGE)))
    np.testing.assert_array_equal(scan.voxels[:, :, 0].T, IMAGE)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_declared_size_is_columns_and_rows(syntax):
    assert declared_size(bytes(LOSSLESS[syntax](IMAGE))) == (56, 40)


def test_baseline_is_near(compressed):
    smooth = np.add.outer(np.arange(40), np.arange(56)).astype(np.uint8)
    ref = compressed(
        JPEGBaseline8Bit, imagecodecs.jpeg8_encode(smooth, level=95), BitsAllocated=8, BitsStored=8, HighBit=7
    )
    np.testing.assert_allclose(read_scan(ref).voxels[:, :, 0].T, smooth, atol=3)


def test_codestream_larger_than_the_header_is_not_decoded(compressed):
    large = imagecodecs.jpeg2k_encode(np.zeros((3000, 3000), np.uint16), codecformat="j2k")
    ref = compressed(JPEG2000Lossless, large)
    tracemalloc.start()
    with pytest.raises(ScanError, match="codestream of 3000x3000, expected 56x40") as caught:
        read_scan(ref)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert caught.value.code == "CORRUPT_FILE"


def test_codestream_of_junk_is_refused(compressed):
    with pytest.raises(ScanError, match="DECODE_FAILED"):
        read_scan(compressed(JPEG2000Lossless, b"junk" * 50))


def test_fragment_cut_short_is_refused(compressed, tmp_path):
    compressed(JPEGLSLossless, imagecodecs.jpegls_encode(IMAGE))
    path = tmp_path / "a.dcm"
    path.write_bytes(path.read_bytes()[:-500])
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("TRUNCATED_PIXELS: ")


JPEGS = {
    JPEGBaseline8Bit: (lambda image: imagecodecs.jpeg8_encode((image >> 4).astype(np.uint8), level=95), 8),
    JPEGExtended12Bit: (lambda image: imagecodecs.jpeg8_encode(image, level=95, bitspersample=12), 12),
    JPEGLosslessSV1: (lambda image: imagecodecs.ljpeg_encode(image, bitspersample=12), 12),
}


@pytest.mark.parametrize("left_out", [4, 40, 1000])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "cut and ended"])
@pytest.mark.parametrize("syntax", JPEGS, ids=lambda syntax: syntax.name)
def test_jpeg_that_ends_before_its_last_pixel_is_refused(compressed, syntax, end, left_out):
    encode, bits = JPEGS[syntax]
    tags = {"BitsAllocated": 8 if bits == 8 else 16, "BitsStored": bits, "HighBit": bits - 1}
    whole = encode(IMAGE)
    assert read_scan(compressed(syntax, whole, **tags)).voxels.shape == (56, 40, 1)
    with pytest.raises(ScanError, match=r"TRUNCATED_PIXELS|DECODE_FAILED"):
        read_scan(compressed(syntax, whole[: -2 - left_out] + end, **tags))


def test_jpeg_with_restarts_that_ends_at_one_is_refused(compressed):
    buffer = io.BytesIO()
    smooth = np.add.outer(np.arange(40), np.arange(56)).astype(np.uint8)
    Image.fromarray(smooth).save(buffer, "JPEG", restart_marker_rows=1)
    whole = buffer.getvalue()
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    assert read_scan(compressed(JPEGBaseline8Bit, whole, **tags)).voxels.shape == (56, 40, 1)
    cut = whole[: whole.index(b"\xff\xd2")] + b"\xff\xd9"
    with pytest.raises(ScanError, match="TRUNCATED_PIXELS"):
        read_scan(compressed(JPEGBaseline8Bit, cut, **tags))


def test_syntax_without_decoder_is_refused(compressed):
    ref = compressed(pydicom.uid.MPEG2MPML, b"\0" * 40)
    assert ref.reason.startswith("UNSUPPORTED_SYNTAX: ")


@pytest.mark.parametrize(("bits", "above"), [(8, 0), (8, 2), (10, 2), (12, 0), (12, 4), (14, 2), (16, 0)])
@pytest.mark.parametrize("signed", [0, 1])
def test_extend_takes_the_stored_bits_below_the_high_bit(bits, above, signed):
    high = 15 - above
    layout = PixelLayout(ExplicitVRLittleEndian, 1, 5, 10, 1, 16, bits, high, bool(signed), "MONOCHROME2", 0)
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.linspace(low, low + 2**bits - 1, 50).astype(int)
    shift = high + 1 - bits
    packed = ((values & (2**bits - 1)) << shift).astype(np.uint16)
    garbage = (0xFFFF << (high + 1)) & 0xFFFF | ((1 << shift) - 1)
    np.testing.assert_array_equal(extend(packed | np.uint16(garbage), layout), values)


@pytest.fixture
def deflated(compressed, tmp_path):
    """Writes a radiograph with its frame deflated, in a syntax that pydicom does not write: its UID is put in later."""

    def build(pixels):
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        compressed(JPEG2000Lossless, packer.compress(pixels) + packer.flush())
        path = tmp_path / "a.dcm"
        path.write_bytes(path.read_bytes().replace(JPEG2000Lossless.encode(), DEFLATED_FRAMES.encode() + b"\0"))
        (ref,) = scan_sources([tmp_path])
        return ref

    return build


def test_deflated_frames_are_exact(deflated):
    scan = read_scan(deflated(IMAGE.tobytes()))
    np.testing.assert_array_equal(scan.voxels[:, :, 0].T, IMAGE)


def test_deflated_frame_that_is_too_short_or_a_bomb_is_no_harm(deflated):
    with pytest.raises(ScanError, match="TRUNCATED_PIXELS"):
        read_scan(deflated(IMAGE.tobytes()[:-2]))
    bomb = deflated(IMAGE.tobytes() + bytes(2**28))
    np.testing.assert_array_equal(read_scan(bomb).voxels[:, :, 0].T, IMAGE)


def packbits(content, runs=128):
    """RLE by the book (PS3.5 annex G.3.1): literal runs only."""
    packed = b"".join(
        bytes([len(content[at : at + runs]) - 1]) + content[at : at + runs] for at in range(0, len(content), runs)
    )
    return packed + b"\0" * (len(packed) % 2)


def rle(*segments):
    starts = np.cumsum([64, *(len(segment) for segment in segments)])[:-1]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def test_rle_is_exact_whether_its_segments_are_even_or_not(compressed):
    high, low = (IMAGE >> 8).astype(np.uint8).tobytes(), (IMAGE & 255).astype(np.uint8).tobytes()
    for spare in (b"", b"\1AB"):  # a run too many, which the quick decoder does not bear
        scan = read_scan(compressed(RLELossless, rle(packbits(high) + spare, packbits(low))))
        np.testing.assert_array_equal(scan.voxels[:, :, 0].T, IMAGE)


@pytest.mark.parametrize("missing", ["first", "second", "both"])
def test_rle_with_a_segment_too_short_is_refused(compressed, missing):
    high, low = (IMAGE >> 8).astype(np.uint8).tobytes(), (IMAGE & 255).astype(np.uint8).tobytes()
    high = high[:-200] if missing != "second" else high
    low = low[:-200] if missing != "first" else low
    with pytest.raises(ScanError, match="DECODE_FAILED"):
        read_scan(compressed(RLELossless, rle(packbits(high), packbits(low))))
