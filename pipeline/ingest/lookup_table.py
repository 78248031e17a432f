"""The Modality LUT Sequence: stored values looked up in a table."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from pipeline.errors import Reason, ScanError


def look_up(
    stored: npt.NDArray[Any], item: pydicom.Dataset, *, signed: bool, little_endian: bool
) -> npt.NDArray[np.float32]:
    """Map stored values through a table; values before its first or behind its last entry take that entry.

    Args:
        stored: Stored values.
        item: The sequence item, with LUT Descriptor and LUT Data.
        signed: Whether the first value mapped is signed, as the pixels are.
        little_endian: Byte order of LUT Data where it is bytes.

    Raises:
        ScanError: CORRUPT_HEADER if the table is shorter than it says.

    Source:
        DICOM PS3.3 C.11.1.1.
    """
    if item.get("LUTDescriptor") is None or item.get("LUTData") is None:
        raise ScanError(Reason.CORRUPT_HEADER, "Modality LUT without its descriptor or its data")
    entries, first = (int(value) for value in item.LUTDescriptor[:2])
    entries = entries or 2**16
    if signed and first >= 2**15:
        first -= 2**16
    table = _entries(item.LUTData, entries, "<" if little_endian else ">")
    if len(table) < entries:
        raise ScanError(Reason.CORRUPT_HEADER, f"Modality LUT of {len(table)} entries, expected {entries}")
    index = np.clip(stored.astype(np.int64) - first, 0, entries - 1)
    return np.asarray(table[index], dtype=np.float32)


def _entries(values: Any, entries: int, order: str) -> npt.NDArray[Any]:
    if not isinstance(values, bytes):
        return np.atleast_1d(np.asarray(values, dtype=np.int64))
    return np.frombuffer(values, dtype="u1" if len(values) < 2 * entries else f"{order}u2")
