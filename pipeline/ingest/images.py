"""PNG and JPEG files: one slice without a place in the patient."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import require_budget
from pipeline.ingest.facts import FileFacts
from pipeline.ingest.nifti import uid_of_content
from pipeline.ingest.pixels import one_intensity
from pipeline.scan import Scan, SeriesRef

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L"})


def image_facts(path: Path, facts: FileFacts) -> FileFacts:
    """Fill in what a PNG or JPEG holds; it is decoded, since only its pixels tell grey from colour.

    Raises:
        ScanError: If it is too large or damaged.
    """
    pixels = _pixels(path)
    rows, columns = pixels.shape[:2]
    return dataclasses.replace(
        facts,
        format="image",
        modality="XC" if pixels.ndim == 3 else "OT",
        series_uid=uid_of_content(facts.sha256),
        shape=(columns, rows, 1),
        geometry="none",
    )


def read_image(ref: SeriesRef) -> Scan:
    """Read a PNG or JPEG, turned as its EXIF orientation says; 16-bit grey keeps its depth.

    Raises:
        ScanError: If it is too large or damaged.
    """
    pixels = _pixels(Path(ref.files[0]))
    return Scan(
        voxels=pixels.swapaxes(0, 1)[:, :, np.newaxis].astype(np.float32),
        affine=np.eye(4),
        modality=ref.modality,
        series_uid=ref.series_uid,
        geometry="none",
    )


def _pixels(path: Path) -> npt.NDArray[np.generic]:
    """Grey (rows, columns) or colour (rows, columns, 3)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                require_budget((*image.size, 1 if image.mode in GREY_MODES else 3))
                image.load()
                upright = ImageOps.exif_transpose(image)
                if upright.mode not in DEEP_MODES:
                    upright = upright.convert("L" if upright.mode in GREY_MODES else "RGB")
                pixels = np.asarray(upright)
    except Image.DecompressionBombError as error:
        raise ScanError(Reason.OVER_BUDGET, "more pixels than an image may have") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(error) from error
    return one_intensity(pixels[:, :, np.newaxis])[:, :, 0] if pixels.ndim == 3 else pixels


def _damaged(error: Exception) -> ScanError:
    if isinstance(error, ScanError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    if "truncated" in str(error).lower():
        return ScanError(Reason.TRUNCATED_FILE, "the image ends early")
    return ScanError(Reason.CORRUPT_FILE, f"the image cannot be decoded ({type(error).__name__})")
