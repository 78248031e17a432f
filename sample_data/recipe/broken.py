"""Files that a reader must refuse, each broken in one known way."""

import struct
import zlib

import numpy as np

from recipe.chest import ray_loss
from recipe.headers import dicom_file, radiograph
from recipe.organ import Lesion, volume
from recipe.sites import NORTH
from recipe.thorax import series

NOTES = b"Please call ward 3 about the films of this morning.\n" * 4


def png(grey: np.ndarray) -> bytes:
    """An 8-bit grey PNG whose one deflate block is stored, so that no zlib version changes it."""
    lines = b"".join(b"\0" + line.tobytes() for line in grey.astype(np.uint8))
    block = b"\x01" + struct.pack("<HH", len(lines), 0xFFFF - len(lines)) + lines
    size = struct.pack(">LLBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    parts = (b"IHDR", size), (b"IDAT", b"\x78\x01" + block + struct.pack(">L", zlib.adler32(lines))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in parts
    )


def broken_files(seed: int) -> dict[str, bytes]:
    """Name below broken/ to content."""
    patient = f"N9{seed % 100000:05d}"
    view = NORTH.view(patient, "a")
    brightness = NORTH.expose(ray_loss(patient, view, "a"), patient, "a")[::2, ::2]
    film = dicom_file(radiograph(NORTH, patient, "a", brightness), compress=False)
    whole, _ = volume("north", patient, lesion=False)
    gap = series(f"N8{seed % 100000:05d}", Lesion((60.0, 0.0, 0.0), 12.0), shape=(7, 32, 32), signed=True, zoom=2.0)
    files = {f"ct_gap/{n}.dcm": dicom_file(ds) for n, ds in enumerate(gap) if n != 3}
    grey = (brightness - NORTH.base) * 255 // (NORTH.step * NORTH.levels)
    return files | {
        "empty.dcm": b"",
        "notes.dcm": NOTES,
        "cut.dcm": film[: len(film) - brightness.size],
        "half.nii.gz": whole[: len(whole) // 2],
        "crc.nii.gz": whole[:-8] + bytes([whole[-8] ^ 0xFF]) + whole[-7:],
        "cut.png": png(grey)[:1500],
    }
