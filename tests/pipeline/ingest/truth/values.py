"""Stored numbers to modality units: rescale, Modality LUT, bits, signs. Only the values are peculiar."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.pipeline.ingest.truth.case import HIGHDICOM, SITK, Expected, case, read, refuse
from tests.pipeline.ingest.truth.dicom import MR, STORAGE, Stack, image, item, numbers

BOTH = (HIGHDICOM, SITK)
PT = STORAGE + "128"


def stack_of(stored: np.ndarray, **module: Any) -> Stack:
    """A stack of numbers kept in so many bits, without rescale."""
    own = {"allocated": 16, "bits": 16, "signed": False, **module}

    class Kept(Stack):
        def dataset(self, k, **tags):
            return super().dataset(k, **{**image(self.stored[k], **own), **tags})

    return Kept(stored=stored, slope=1, intercept=0)


@case(row=10)
def slope_and_intercept_per_slice(folder: Path) -> Expected:
    """Each slice has its own rescale (PS3.3 C.11.1), as in PET (C.8.9.4)."""
    stack = Stack(tags={"Modality": "PT", "SOPClassUID": PT})

    def change(made, k):
        made.RescaleSlope, made.RescaleIntercept = k + 1.5, -k

    stack.write(folder, change)
    scale = np.arange(8.0)[:, None, None]
    return read(stack.truth(stack.stored * (scale + 1.5) - scale, modality="PT"), proof=(HIGHDICOM,))


@case(row=18, variants={"fraction": (0.37, -3.25), "tiny": (1.5e-7, 0), "negative": (-1, 100), "large": (1000, -5)})
def slope(folder: Path, slope: float, intercept: float) -> Expected:
    """Slope and intercept of any size and sign; no rounding to whole numbers (PS3.3 C.11.1.1.2)."""
    stack = Stack(slope=slope, intercept=intercept)
    stack.write(folder)
    return read(stack.truth(), proof=(HIGHDICOM,))


@case(variants={"absent": None, "empty": ""})
def no_rescale(folder: Path, value: str | None) -> Expected:
    """Without rescale the stored numbers are the values."""

    def change(made, k):
        made.RescaleSlope = made.RescaleIntercept = value
        if value is None:
            del made.RescaleSlope, made.RescaleIntercept

    Stack().write(folder, change)
    return read(Stack().truth(Stack().stored), proof=())


@case(variants={"slope_zero": ("RescaleSlope", b"1 ", b"0 "), "slope_word": ("RescaleSlope", b"1 ", b"x "),
                "intercept_nan": ("RescaleIntercept", b"-1024 ", b"nan   ")})  # fmt: skip
def impossible_rescale(folder: Path, keyword: str, good: bytes, bad: bytes) -> Expected:
    """A slope of 0 leaves no image, a word is no number: refused (PS3.3 C.11.1.1.2)."""
    Stack(stored=numbers((1, 6, 5)), tags={"RescaleSlope": "1", "RescaleIntercept": "-1024"}).write(folder)
    path = folder / "0_0.dcm"
    tag = {"RescaleSlope": b"\x28\x00\x53\x10DS", "RescaleIntercept": b"\x28\x00\x52\x10DS"}[keyword]
    whole = path.read_bytes()
    at = whole.index(tag) + 8
    assert whole[at : at + len(good)] == good
    path.write_bytes(whole[:at] + bad + whole[at + len(good) :])
    return refuse("CORRUPT_HEADER")


@case(row=11)
def monochrome1_ct(folder: Path) -> Expected:
    """MONOCHROME1 and a window concern display alone (PS3.3 C.7.6.3.1.2): CT is never inverted nor windowed."""
    stack = Stack(tags={"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 40, "WindowWidth": 80})
    stack.write(folder)
    return read(stack.truth(), proof=(HIGHDICOM,))


@case()
def monochrome1_mr(folder: Path) -> Expected:
    """MR is never inverted either; Presentation LUT Shape does not change that."""
    tags = {"Modality": "MR", "SOPClassUID": MR, "PhotometricInterpretation": "MONOCHROME1"}
    stack = Stack(tags={**tags, "PresentationLUTShape": "INVERSE"})
    stack.write(folder)
    return read(stack.truth(modality="MR"), proof=(HIGHDICOM,))


@case(row=12)
def garbage_above_the_high_bit(folder: Path) -> Expected:
    """Bits above High Bit are no part of the value (PS3.5 8.1.1): overlays of old, or junk."""
    stack = Stack()

    def change(made, k):
        made.PixelData = (stack.stored[k] | 0xA000).astype("<u2").tobytes()

    stack.write(folder, change)
    return read(stack.truth(), proof=BOTH)


@case(row=13, variants={"bare": 0, "with_junk": 0x3000})
def signed_12_bits_not_extended(folder: Path, junk: int) -> Expected:
    """Signed 12 bits whose sign is not carried into the upper 4 bits are extended (PS3.5 8.1.1)."""
    values = numbers((8, 6, 5), 2048, -2048)
    stack = stack_of(values, bits=12, signed=True)

    def change(made, k):
        made.PixelData = ((values[k] & 0x0FFF) | junk).astype("<u2").tobytes()

    stack.write(folder, change)
    return read(stack.truth(), proof=(HIGHDICOM,))


@case(
    variants={
        "8_unsigned": (8, 8, False),
        "8_signed": (8, 8, True),
        "7_of_8": (8, 7, False),
        "10_of_16": (16, 10, False),
        "14_of_16_signed": (16, 14, True),
        "16_unsigned": (16, 16, False),
        "16_signed": (16, 16, True),
        "24_of_32": (32, 24, False),
        "32_unsigned": (32, 32, False),
        "32_signed": (32, 32, True),
    }
)
def bits(folder: Path, allocated: int, bits: int, signed: bool) -> Expected:
    """The full range of whole numbers of many sizes and both signs (PS3.5 8.1.1)."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = numbers((4, 6, 6), low + 2**bits, low)
    values[0, 0, :2] = low, low + 2**bits - 1
    stack = stack_of(values, allocated=allocated, bits=bits, signed=signed)
    stack.write(folder)
    return read(stack.truth(), proof=BOTH if allocated == 16 else (HIGHDICOM,) if allocated == 8 else ())


@case(variants={"10_bits_at_13": (10, 13), "12_bits_at_15": (12, 15)})
def high_bit_further_up(folder: Path, bits: int, high: int) -> Expected:
    """High Bit above Bits Stored - 1, retired but alive (PS3.5 8.1.1): the value lies below High Bit."""
    values = numbers((4, 6, 6), 2**bits)
    stack = stack_of(values, bits=bits)

    def change(made, k):
        made.HighBit = high
        shift = high + 1 - bits
        made.PixelData = ((values[k] << shift) | ((1 << shift) - 1)).astype("<u2").tobytes()

    stack.write(folder, change)
    return read(stack.truth())


@case(variants={"stored_above_allocated": {"BitsStored": 20}, "high_bit_too_low": {"HighBit": 5},
                "12_allocated": {"BitsAllocated": 12}, "none": {"BitsAllocated": 0}})  # fmt: skip
def impossible_bits(folder: Path, tags: dict[str, int]) -> Expected:
    """Bits that do not fit into each other (PS3.5 8.1.1): refused."""
    Stack(tags=tags).write(folder)
    return refuse("CORRUPT_HEADER")


@case(variants={"absent": None, "two": 2})
def unknown_sign(folder: Path, value: int | None) -> Expected:
    """Pixel Representation is type 1 and 0 or 1 (PS3.3 C.7.6.3): without it the sign is a guess; refused."""

    def change(made, k):
        made.PixelRepresentation = value
        if value is None:
            del made.PixelRepresentation

    Stack().write(folder, change)
    return refuse("CORRUPT_HEADER")


@case()
def padding_value(folder: Path) -> Expected:
    """Pixel Padding Value marks what lies outside the scan (PS3.3 C.7.5.1.1.2); it is rescaled like any other value."""
    values = numbers((4, 6, 6), 3000, -1000)
    values[:, 0] = -2000
    stack = stack_of(values, signed=True)
    stack.intercept = 0
    stack.tags = {"PixelPaddingValue": -2000, "SmallestImagePixelValue": -1000}
    stack.write(folder)
    return read(stack.truth(), proof=BOTH)


def table(entries: np.ndarray, first: int, bits: int = 16, vr: str = "OW", signed: bool = False):
    """A Modality LUT item; entries of 8 bits are packed in bytes."""
    made = item(ModalityLUTType="US")
    made.add_new(0x00283002, "SS" if signed else "US", [len(entries) % 2**16, first, bits])
    packed = entries.astype("<u2" if bits > 8 else "u1").tobytes()
    made.add_new(0x00283006, vr, entries.tolist() if vr == "US" else packed)
    return made
