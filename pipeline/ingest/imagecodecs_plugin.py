"""A pydicom decoding plugin for RLE and the JPEG family, on imagecodecs (libjpeg-turbo 8 and 12 bit, lossless).

Source:
    The interface is pydicom's: https://pydicom.github.io/pydicom/stable/guides/decoding/decoder_plugins.html
"""

import imagecodecs
from pydicom import uid
from pydicom.pixels.decoders.base import DecodeRunner

LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
DECODER_DEPENDENCIES = dict.fromkeys(
    (uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, *LOSSLESS), ("imagecodecs",)
)
AS_STORED = ("YBR_FULL", "YBR_FULL_422", "RGB")


def is_available(syntax: str) -> bool:
    """Whether the plugin decodes a transfer syntax."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(codestream: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; colour stays in the space it is stored in, which pydicom then converts.

    Raises:
        ValueError: If the codestream's size is not the header's.
    """
    if runner.transfer_syntax == uid.RLELossless:
        return _unrolled(codestream, runner)
    if runner.transfer_syntax in LOSSLESS:
        image = imagecodecs.ljpeg_decode(codestream)
    elif runner.photometric_interpretation in AS_STORED:
        space = "RGB" if runner.photometric_interpretation == "RGB" else "YCBCR"
        image = imagecodecs.jpeg8_decode(codestream, colorspace=space, outcolorspace=space)
    else:
        image = imagecodecs.jpeg8_decode(codestream)
    if image.shape[:2] != (runner.rows, runner.columns):
        raise ValueError(f"decoded {image.shape[:2]}, expected {(runner.rows, runner.columns)}")
    runner.set_option("bits_allocated", 8 * image.dtype.itemsize)
    return bytes(image.tobytes())


def _unrolled(codestream: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame of RLE, one plane after the other; DICOM PS3.5 annex G."""
    planes = bytes(imagecodecs.dicomrle_decode(codestream, dtype=f"<u{runner.bits_allocated // 8}"))
    needed = runner.rows * runner.columns * runner.samples_per_pixel * runner.bits_allocated // 8
    if len(planes) != needed:
        raise ValueError(f"decoded {len(planes)} bytes, expected {needed}")
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 1)
    return planes
