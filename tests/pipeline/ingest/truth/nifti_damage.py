"""NIfTI files cut, flipped, padded or with impossible headers."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

from tests.pipeline.ingest.truth.case import Expected, case, read, refuse
from tests.pipeline.ingest.truth.nifti import PROOF, VOXELS, Nifti


def packed(level: int = 6) -> bytes:
    return gzip.compress(Nifti().content, compresslevel=level, mtime=0)


@case(variants={"nii_1_byte": ("a.nii", 1), "nii_half": ("a.nii", 120), "nii_all_voxels": ("a.nii", 240)})
def cut(folder: Path, name: str, lost: int) -> Expected:
    """A file shorter than its header declares: refused."""
    (folder / name).write_bytes(Nifti().content[:-lost])
    return refuse("TRUNCATED_FILE")


@case(variants={"trailer": 1, "within_the_trailer": 5, "half": 200})
def gz_cut(folder: Path, lost: int) -> Expected:
    """A gzip stream that ends early, even within its trailer alone: refused."""
    (folder / "a.nii.gz").write_bytes(packed()[:-lost])
    return refuse("TRUNCATED_FILE")


def changed(folder: Path, whole: bytes, at: int, flip: int) -> None:
    content = bytearray(whole)
    content[at] ^= flip
    (folder / "a.nii.gz").write_bytes(bytes(content))


@case(variants={"checksum": (6, -6, 4), "length_field": (6, -2, 1), "voxels_stored": (0, -30, 1)})
def gz_bit_flipped(folder: Path, level: int, at: int, flip: int) -> Expected:
    """One bit is wrong: the checksum or the length tells, and the file is refused (RFC 1952)."""
    changed(folder, packed(level), at, flip)
    return refuse("CORRUPT_FILE")


@case()
def gz_of_two_members(folder: Path) -> Expected:
    """A gzip file may consist of several members (RFC 1952 2.2)."""
    content = Nifti().content
    (folder / "a.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    return read(Nifti().truth(), proof=PROOF)


@case()
def gz_padded_with_zeros(folder: Path) -> Expected:
    """Zeros behind the last member are padding, as tapes write it."""
    (folder / "a.nii.gz").write_bytes(packed() + bytes(64))
    return read(Nifti().truth(), proof=PROOF)


@case()
def gz_with_garbage_behind(folder: Path) -> Expected:
    """What follows the last member is neither member nor padding: refused."""
    (folder / "a.nii.gz").write_bytes(packed() + b"garbage! " * 9)
    return refuse("CORRUPT_FILE")


@case()
def zlib_instead_of_gzip(folder: Path) -> Expected:
    """The name says .nii.gz, the content is no gzip: refused."""
    (folder / "a.nii.gz").write_bytes(zlib.compress(Nifti().content))
    return refuse("CORRUPT_HEADER")


@case()
def bytes_behind_the_voxels(folder: Path) -> Expected:
    """Some bytes behind the voxels are left alone."""
    (folder / "a.nii").write_bytes(Nifti().content + b"\0" * 100)
    return read(Nifti().truth(), proof=PROOF)


@case()
def inflates_far_beyond_its_header(folder: Path) -> Expected:
    """Far more than the header declares: refused before it fills the memory."""
    (folder / "a.nii.gz").write_bytes(gzip.compress(Nifti().content + bytes(3 * 2**20)))
    return refuse("CORRUPT_FILE")


@case(
    variants={
        "negative": (3, 4, -5, 6),
        "zero": (3, 4, 0, 6),
        "none": (0, 4, 5, 6),
        "too_many": (8, 4, 5, 6),
        "below_zero": (-3, 4, 5, 6),
    }
)
def impossible_dimensions(folder: Path, *dims: int) -> Expected:
    """No volume has such dimensions: refused."""
    Nifti(dims=dims).write(folder)
    return refuse("CORRUPT_HEADER")


@case(variants={"nifti_1": (1, 32767), "nifti_2": (2, 2**62)})
def absurd_dimensions(folder: Path, version: int, size: int) -> Expected:
    """More voxels than any memory holds: refused before a byte is allocated."""
    Nifti(version=version, dims=(3, size, size, size)).write(folder)
    return refuse("OVER_BUDGET")


@case(variants={"zero": 0.0, "inside_the_header": 100.0, "negative": -352.0, "nan": float("nan"), "far_behind": 1e9})
def impossible_offset(folder: Path, offset: float) -> Expected:
    """vox_offset within the header, no number, or far behind the file: refused."""
    content = Nifti().content
    (folder / "a.nii").write_bytes(content[:108] + struct.pack("<f", offset) + content[112:])
    return refuse("CORRUPT_HEADER")


@case()
def pair_header(folder: Path) -> Expected:
    """The header of a .hdr/.img pair holds no voxels: refused, with the way to convert it."""
    (folder / "a.hdr").write_bytes(Nifti(magic=b"ni1\0").content[:352])
    return refuse("UNSUPPORTED_OBJECT")


@case(variants={"name_alone": b"hello" * 200, "analyze": None, "short": b"\x5c\x01\0\0"})
def no_nifti_at_all(folder: Path, content: bytes | None) -> Expected:
    """A name of .nii without a NIfTI header, and Analyze 7.5, which has no affine: refused."""
    (folder / "a.nii").write_bytes(Nifti(magic=b"\0\0\0\0").content if content is None else content)
    return refuse("CORRUPT_HEADER")


@case(variants={"gz": ".nii.gz", "nii": ".nii"})
def empty_file(folder: Path, suffix: str) -> Expected:
    """A file without bytes: refused."""
    (folder / f"a{suffix}").write_bytes(b"")
    return refuse("EMPTY_FILE")


@case()
def same_file_twice(folder: Path) -> Expected:
    """A copy is read once; packed it is another file with the same voxels, and is read by itself."""
    how: dict[str, Any] = {"voxels": VOXELS}
    Nifti(**how).write(folder, "a.nii")
    Nifti(**how).write(folder, "b.nii")
    return read(Nifti().truth(), ignored="DUPLICATE_FILE")
