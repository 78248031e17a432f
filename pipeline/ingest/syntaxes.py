"""Transfer syntaxes that are read, and the permissively licensed decoder for each."""

from pydicom import uid

NATIVE = frozenset(
    {
        str(uid.ImplicitVRLittleEndian),
        str(uid.ExplicitVRLittleEndian),
        str(uid.ExplicitVRBigEndian),
        str(uid.DeflatedExplicitVRLittleEndian),
    }
)
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # Deflated Image Frame Compression, of which pydicom does not know yet
DECODERS: dict[str, str] = {
    str(uid.RLELossless): "imagecodecs",  # pylibjpeg-rle aborts the process on hostile sizes
    str(uid.JPEGBaseline8Bit): "imagecodecs",
    str(uid.JPEGExtended12Bit): "imagecodecs",
    str(uid.JPEGLossless): "imagecodecs",
    str(uid.JPEGLosslessSV1): "imagecodecs",
    str(uid.JPEGLSLossless): "pyjpegls",
    str(uid.JPEGLSNearLossless): "pyjpegls",
    str(uid.JPEG2000Lossless): "pylibjpeg",
    str(uid.JPEG2000): "pylibjpeg",
    str(uid.HTJ2KLossless): "pylibjpeg",
    str(uid.HTJ2KLosslessRPCL): "pylibjpeg",
    str(uid.HTJ2K): "pylibjpeg",
    DEFLATED_FRAMES: "zlib",
}
