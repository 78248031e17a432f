"""What a case of the truth set is: a writer of files, and what a reader must make of them."""

import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HIGHDICOM, SITK, NIBABEL, MONAI = "highdicom", "SimpleITK", "nibabel", "MONAI"


@dataclass(frozen=True, eq=False)
class Truth:
    """One volume.

    Attributes:
        voxels: Values in modality units, (I, J, K) or (I, J, K, 3).
        affine: Voxel index to RAS+ mm; None where the file places the image nowhere.
        modality: DICOM Modality, `OT` for NIfTI.
        inverted: Whether a radiograph's polarity must be turned.
        tolerance: Largest difference of a voxel; other than 0 for lossy compression and rounding of colour alone.
    """

    voxels: np.ndarray
    affine: np.ndarray | None = None
    modality: str = "CT"
    inverted: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True, eq=False)
class Expected:
    """What must come out of a folder: volumes in the order of their references, and codes of all else.

    Attributes:
        volumes: To be read.
        refused: Reason code of each series or file refused, sorted.
        ignored: Reason code of each file ignored, sorted.
        proof: Second readers that are right on this case, and so prove its truth.
    """

    volumes: tuple[Truth, ...] = ()
    refused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One entry of the truth set.

    Attributes:
        name: What is peculiar about the files.
        family: The module that writes it.
        says: The rule, with its source.
        write: Writes the files into a folder and tells what must come out.
        row: Row of the comparison of eight readers that the case belongs to; 0 for none.
    """

    name: str
    family: str
    says: str
    write: Callable[[Path], Expected]
    row: int = 0


CASES: list[Case] = []
FAMILIES = (
    *("geometry", "impossible_geometry", "grouping", "copies", "values", "modality_lut", "radiographs", "colour"),
    *("enhanced", "enhanced_kinds", "others", "compressed", "encapsulation", "byte_level", "damage"),
    *("nifti", "nifti_damage"),
)


def load_all() -> None:
    """Enter the cases of every family."""
    for family in FAMILIES:
        importlib.import_module(f"tests.pipeline.ingest.truth.{family}")


def case(
    *, row: int = 0, variants: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., Expected]], Callable[..., Expected]]:
    """Enter a writer into the truth set, once or once for each variant.

    Args:
        row: Row of the comparison of readers.
        variants: Suffix of the name to the arguments (a tuple, or one value) behind the folder.
    """

    def enter(writer: Callable[..., Expected]) -> Callable[..., Expected]:
        says = " ".join((writer.__doc__ or "").split())
        family = writer.__module__.rpartition(".")[2]
        for suffix, given in (variants or {"": ()}).items():
            arguments = given if isinstance(given, tuple) else (given,)
            name = writer.__name__ + (f"_{suffix}" if suffix else "")
            write = _bound(writer, arguments)
            CASES.append(Case(name, family, says, write, row))
        return writer

    return enter


def _bound(writer: Callable[..., Expected], arguments: tuple[Any, ...]) -> Callable[[Path], Expected]:
    return lambda folder: writer(folder, *arguments)


def read(*volumes: Truth, proof: tuple[str, ...] = (), refused: str = "", ignored: str = "") -> Expected:
    """Volumes that must be read; codes of what else is there, separated by blanks."""
    return Expected(volumes, tuple(sorted(refused.split())), tuple(sorted(ignored.split())), proof)


def refuse(codes: str, ignored: str = "") -> Expected:
    """Nothing may be read."""
    return read(refused=codes, ignored=ignored)


def signed_permutation(matrix: np.ndarray) -> bool:
    """Whether a 3 x 3 matrix only swaps and turns axes."""
    return any(
        np.allclose(np.abs(matrix), np.eye(3)[list(order)], atol=1e-3) for order in itertools.permutations(range(3))
    )
