"""Whether a map's peak lies in a lesion whose place is known, as `lesions.csv` of the sample data tells it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.prepare.way_back import Peak


@dataclass(frozen=True, slots=True)
class Lesion:
    """A ball that was planted in a scan.

    Attributes:
        centre: Row and column of the stored image, from 0; or x, y, z in RAS+ mm.
        radius: In pixels, or in mm.
    """

    centre: tuple[float, ...]
    radius: float

    def distance(self, peak: Peak) -> float:
        """How far the peak lies from the centre, in pixels or mm; infinite where it is in no patient but should be."""
        if len(self.centre) == 2:
            found: tuple[float, ...] = (peak.voxel[1], peak.voxel[0])
        elif peak.mm is None:
            return float("inf")
        else:
            found = peak.mm
        return float(np.linalg.norm(np.subtract(found, self.centre)))

    def holds(self, peak: Peak) -> bool:
        """Whether the peak lies inside."""
        return self.distance(peak) <= self.radius


def read_lesions(path: Path) -> dict[str, Lesion]:
    """Path of a scan, relative to the file's folder, to its lesion; a scan without one is not there.

    Raises:
        SourceError: If the file cannot be read, or is no lesions.csv.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["path"]: _lesion(row) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(f"{path}: not a lesions.csv ({type(error).__name__})") from error


def _lesion(row: dict[str, str]) -> Lesion:
    if row["row"]:
        return Lesion((float(row["row"]), float(row["column"])), float(row["radius_px"]))
    return Lesion((float(row["x_mm"]), float(row["y_mm"]), float(row["z_mm"])), float(row["radius_mm"]))
