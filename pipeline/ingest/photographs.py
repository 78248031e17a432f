"""PNG and JPEG files to pixels by Pillow. Runs in a worker process: decoders are C code, and files are hostile."""

import io
import warnings
from typing import BinaryIO

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.codestreams import with_junk

GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L"})


def upright_pixels(file: BinaryIO) -> npt.NDArray[np.generic]:
    """Grey (rows, columns) or colour (rows, columns, 3), turned as EXIF says; 16-bit grey keeps its depth.

    Raises:
        ScanError: If it is too large or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                require_budget((*image.size, 1 if image.mode in GREY_MODES else 3))
                image.load()
                if image.format == "PNG":
                    _require_whole_png(file)
                else:
                    _require_whole_jpeg(file, image)
                upright = ImageOps.exif_transpose(image)
                if upright.mode not in DEEP_MODES:
                    upright = upright.convert("L" if upright.mode in GREY_MODES else "RGB")
                pixels = np.asarray(upright)
    except ScanError:
        raise
    except Image.DecompressionBombError as error:
        raise ScanError(Reason.OVER_BUDGET, "more pixels than an image may have") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(error) from error
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)


def _require_whole_png(file: BinaryIO) -> None:
    """Refuse a PNG that holds fewer rows than it says, which Pillow fills with zeros; libpng counts them."""
    file.seek(0)
    try:
        imagecodecs.png_decode(file.read())
    except imagecodecs.PngError as error:
        raise ScanError(Reason.CORRUPT_FILE, "the image holds fewer rows than it says, or is damaged") from error


def _require_whole_jpeg(file: BinaryIO, image: Image.Image) -> None:
    """Refuse a JPEG that was ended before its last pixel, which Pillow fills with grey; see `codestreams`."""
    file.seek(0)
    with Image.open(io.BytesIO(with_junk(file.read())), formats=("JPEG",)) as again:
        if image.tobytes() != again.tobytes():
            raise ScanError(Reason.TRUNCATED_FILE, "the image ends before its last pixel")


def _damaged(error: Exception) -> ScanError:
    if "truncated" in str(error).lower():
        return ScanError(Reason.TRUNCATED_FILE, "the image ends early")
    return ScanError(Reason.CORRUPT_FILE, f"the image cannot be decoded ({type(error).__name__})")
