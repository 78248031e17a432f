"""The records that flow through: `SeriesRef` (on disk) -> `Scan` (in memory)."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Status = Literal["ok", "refused", "ignored"]
Kind = Literal["radiograph", "photograph", "volume"]
Format = Literal["dicom", "nifti", "image"]

RADIOGRAPHS = frozenset({"CR", "DX", "DR", "RG", "MG", "IO", "PX", "XA", "RF"})
PHOTOGRAPHS = frozenset({"XC", "SC", "OT", "GM", "ES", "DMS", "OP", "SM", "US"})


def kind_of(modality: str, images: int) -> Kind:
    """What sort of scan a series is, from its DICOM Modality and its number of images.

    Projection radiographs are radiographs whatever their count; single images of a photographic or
    secondary-capture modality are photographs; all else is a volume (a bag of slices).
    """
    if modality in RADIOGRAPHS and images == 1:
        return "radiograph"
    if modality in PHOTOGRAPHS and images == 1:
        return "photograph"
    return "volume"


def modality_group(modality: str) -> str:
    """The group that a bundle is tied to: CR, DX, DR and RG are one, any other modality is its own."""
    return "CR/DX" if modality in {"CR", "DX", "DR", "RG"} else modality or "OT"


@dataclass(frozen=True, slots=True)
class SeriesRef:
    """One series on disk, or one file or link that belongs to none.

    Attributes:
        source: File or deepest common folder, POSIX, relative to the folder that was given.
        series_uid: Series Instance UID, with `#n` where one UID was split into several volumes; for NIfTI
            and images a UID made from the content. Empty for what belongs to no series.
        status: `ok`, `refused` or `ignored`.
        reason: Reason code, then words; empty when ok.
        format: File format; empty for what belongs to no series.
        modality: DICOM Modality (0008,0060); `OT` where the format has none.
        files: Absolute paths, in order along the slice normal (multi-frame and NIfTI: one file).
        volume: Which volume of a 4D file this is; 0 otherwise.
        images: Number of slices or frames that make the volume.
        content: SHA-256 over the hashes of the files' content, so that a moved series is the same series.
        patient: PatientID as read, empty where there is none. Never leaves the user's own files.
        shape: Voxels (I, J, K) as the header declares them; empty where unknown.
        geometry: `patient` where the file places the image in the patient, else `none`; empty where unknown.
        stamp: Of the files' sizes and times of change when they were listed, see `pipeline.ingest.stamp`.
    """

    source: str
    series_uid: str
    status: Status
    reason: str = ""
    format: Format | Literal[""] = ""
    modality: str = ""
    files: tuple[str, ...] = ()
    volume: int = 0
    images: int = 1
    content: str = ""
    patient: str = ""
    shape: tuple[int, ...] = ()
    geometry: Literal["patient", "none", ""] = ""
    stamp: str = field(default="", compare=False)

    @property
    def kind(self) -> Kind:
        """Radiograph, photograph or volume."""
        return kind_of(self.modality, self.images)

    @property
    def key(self) -> str:
        """What the series is, wherever it lies: the hash of its content and the volume's number."""
        return f"{self.content}#{self.volume}" if self.volume else self.content


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One image or volume in patient space.

    Attributes:
        voxels: Intensities, shape (I, J, K) or (I, J, K, 3) for colour, float32. I runs along the columns of
            the stored image, J down its rows, K along the slice normal. CT in Hounsfield units; radiographs
            after the Modality LUT in one polarity (large = bright = dense); colour 0..255.
        affine: Voxel index to RAS+ millimetres, shape (4, 4), float64; identity where `geometry` is `none`.
        modality: DICOM Modality (0008,0060), such as "CT"; `OT` for NIfTI, `OT`/`XC` for grey/colour images.
        series_uid: Series Instance UID as read; a pseudonym at every output but the user's own CSVs.
        geometry: `patient` where the file places the image in the patient, else `none`.
        inverted: Whether a radiograph's polarity was turned (MONOCHROME1).
        window: Lowest and highest value of the header's display window, in units of `voxels`; radiographs only.
    """

    voxels: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    modality: str
    series_uid: str
    geometry: Literal["patient", "none"] = "patient"
    inverted: bool = False
    window: tuple[float, float] | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Length in mm of one step along I, J and K."""
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(steps[0]), float(steps[1]), float(steps[2]))

    @property
    def colour(self) -> bool:
        """Whether the last axis holds red, green and blue."""
        return self.voxels.ndim == 4

    @property
    def kind(self) -> Kind:
        """Radiograph, photograph or volume."""
        return kind_of(self.modality, int(self.voxels.shape[2]))
