"""Stored numbers looked up in a Modality LUT Sequence."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.pipeline.ingest.truth.case import HIGHDICOM, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import Stack, numbers
from tests.pipeline.ingest.truth.values import stack_of, table


@case(
    row=19,
    variants={
        "words": (np.arange(4096)[::-1], 0, {}),
        "us_list": (np.arange(4096)[::-1], 0, {"vr": "US"}),
        "first_above_0": (np.arange(100, 2100) ** 2 % 60000, 500, {}),
        "bytes": (np.arange(4096) % 251, 0, {"bits": 8}),
        "2_to_the_16": (np.arange(65536) // 3, 0, {}),
    },
)
def modality_lut(folder: Path, entries: np.ndarray, first: int, how: dict[str, Any]) -> Expected:
    """Modality LUT Sequence instead of rescale; values outside the table take its ends (PS3.3 C.11.1.1)."""
    stack = Stack()

    def change(made, k):
        del made.RescaleSlope, made.RescaleIntercept
        made.ModalityLUTSequence = [table(entries, first, **how)]

    stack.write(folder, change)
    values = entries[np.clip(stack.stored - first, 0, len(entries) - 1)]
    return read(stack.truth(values), proof=(HIGHDICOM,) if len(entries) == 4096 and not how.get("bits") else ())


@case()
def modality_lut_with_signed_first_value(folder: Path) -> Expected:
    """The first value mapped is signed where the pixels are (PS3.3 C.11.1.1)."""
    values = numbers((4, 6, 6), 500, -500)
    stack = stack_of(values, bits=12, signed=True)

    def change(made, k):
        del made.RescaleSlope, made.RescaleIntercept
        made.ModalityLUTSequence = [table(np.arange(1000) * 7, -500, signed=True)]

    stack.write(folder, change)
    return read(stack.truth((values + 500) * 7))


@case(variants={"short": 100, "without_data": None})
def broken_modality_lut(folder: Path, entries: int | None) -> Expected:
    """A table with fewer entries than it declares: refused."""

    def change(made, k):
        broken = table(np.arange(4096), 0)
        broken.LUTData = b"\0" * (2 * (entries or 0))
        if entries is None:
            del broken.LUTData
        made.ModalityLUTSequence = [broken]

    Stack().write(folder, change)
    return refuse("CORRUPT_HEADER")


@case()
def lut_in_one_slice_only(folder: Path) -> Expected:
    """Rescale and tables may change from slice to slice."""
    stack = Stack()

    def change(made, k):
        if k == 2:
            del made.RescaleSlope, made.RescaleIntercept
            made.ModalityLUTSequence = [table(np.arange(4096) * 3, 0)]

    stack.write(folder, change)
    values = stack.stored - 1024.0
    values[2] = stack.stored[2] * 3
    return read(stack.truth(values))
