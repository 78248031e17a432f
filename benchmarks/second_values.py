"""From stored values to modality values and colours, sharing no arithmetic with `pipeline`."""

import numpy as np
import pydicom
from second_reader import NoSecondReaderError, Second


def values(second: Second, *, inverted: bool) -> np.ndarray:
    """Modality values or colours of all frames, (F, rows, columns[, 3]) float64.

    Args:
        second: What was decoded.
        inverted: Whether a MONOCHROME1 radiograph is to be turned.
    """
    dataset, stored = second.dataset, second.stored
    bits = int(dataset.BitsStored)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return np.stack([_palette(stored, dataset, name) for name in ("Red", "Green", "Blue")], -1)
    if stored.ndim == 4:
        return stored * (255 / ((1 << bits) - 1))
    if inverted:
        stored = (-1 if dataset.get("PixelRepresentation") == 1 else (1 << bits) - 1) - stored
    return np.stack([_modality(stored[n], dataset, n) for n in range(len(stored))])


def _modality(frame: np.ndarray, dataset: pydicom.Dataset, index: int) -> np.ndarray:
    """Modality LUT, or the rescale of the frame's functional groups or of the top level."""
    if "ModalityLUTSequence" in dataset:
        item = dataset.ModalityLUTSequence[0]
        entries, first, bits = (int(value) for value in item.LUTDescriptor)
        table = _words(item["LUTData"].value, entries or 1 << 16, bits, dataset.original_encoding[1])
        return table[np.clip(frame - first, 0, len(table) - 1)].astype(float)
    place = group(dataset, index, "PixelValueTransformationSequence") or dataset
    return frame * float(place.get("RescaleSlope", 1)) + float(place.get("RescaleIntercept", 0))


def group(dataset: pydicom.Dataset, index: int, sequence: str) -> pydicom.Dataset | None:
    """The first item of a sequence in the frame's functional groups, else in the shared ones."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for place in (*own[index : index + 1], *shared[:1]):
        if place.get(sequence):
            return place[sequence].value[0]
    return None


def _palette(stored: np.ndarray, dataset: pydicom.Dataset, name: str) -> np.ndarray:
    entries, first, bits = (int(v) for v in dataset[f"{name}PaletteColorLookupTableDescriptor"].value)
    entries = entries or 1 << 16
    little = dataset.original_encoding[1]
    segments = dataset.get(f"Segmented{name}PaletteColorLookupTableData")
    if segments is not None:
        table = _expanded(_words(segments, 0, bits, little))
    else:
        table = _words(dataset[f"{name}PaletteColorLookupTableData"].value, entries, bits, little)
    return table[np.clip(stored - first, 0, len(table) - 1)] * (255 / ((1 << bits) - 1))


def _words(content: object, entries: int, bits: int, little: bool) -> np.ndarray:
    """LUT data as numbers: bytes of 8 or 16 bits, or numbers already."""
    if not isinstance(content, bytes):
        return np.atleast_1d(np.asarray(content, np.int64))
    eight = bits == 8 and len(content) <= entries + entries % 2
    table = np.frombuffer(content, "u1" if eight else "<u2" if little else ">u2").astype(np.int64)
    return table[:entries] if entries else table


def _expanded(codes: np.ndarray) -> np.ndarray:
    """Segments as a table: discrete (0), linear (1) and indirect (2).

    Source:
        DICOM PS3.3 C.7.9.2.
    """
    table: list[float] = []
    at = 0
    while at < len(codes):
        kind, length = int(codes[at]), int(codes[at + 1])
        if kind == 0:
            table += codes[at + 2 : at + 2 + length].tolist()
            at += 2 + length
        elif kind == 1:
            table += np.linspace(table[-1], int(codes[at + 2]), length + 1)[1:].tolist()
            at += 3
        else:
            raise NoSecondReaderError("indirect segments")
    return np.asarray(table)
