"""Decoders: a tiny file in every transfer syntax, read as ingest reads it, and compared with what was put in."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.check.codecs import decoder_words, syntax_name
from pipeline.doctor.finding import Level, Told, check, some
from pipeline.doctor.tiny_files import ENCODINGS, write_radiograph
from pipeline.errors import ScanError
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources


@check("decoders")
def check_decoders(syntaxes: Iterable[str] = tuple(ENCODINGS)) -> Told:
    """Whether every transfer syntax can be decoded, lossless ones to the pixel, by the worker processes of ingest."""
    failed: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        for count, syntax in enumerate(syntaxes, start=1):
            if wrong := _wrong_with(Path(folder) / f"{count}.dcm", syntax):
                failed.append(f"{syntax_name(syntax)} ({decoder_words(syntax)}): {wrong}")
    if failed:
        return Level.BROKEN, f"{len(failed)} of {count} transfer syntaxes: {some(failed)}", tuple(failed)
    return Level.OK, f"{count} transfer syntaxes decoded"


def _wrong_with(path: Path, syntax: str) -> str:
    """What is wrong with a transfer syntax here; empty where it is read right."""
    try:
        image = write_radiograph(path, syntax)
        (ref,) = scan_sources([path])
        scan = read_scan(ref)
    except (ScanError, ImportError, OSError, RuntimeError, ValueError, AttributeError) as error:
        return str(error) or type(error).__name__
    found = scan.voxels[:, :, 0].T
    if found.shape != image.shape:
        return f"decoded {found.shape}, expected {image.shape}"
    off = float(np.abs(found - image).max())
    return f"{off:.0f} grey levels off" if off > ENCODINGS[syntax].tolerance else ""
