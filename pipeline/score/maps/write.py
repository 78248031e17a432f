"""Writing the heat-maps of scored scans: pictures, NIfTI, DICOM, and `index.csv`, which says which is which."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pipeline.errors import MapError, Reason, ScanError
from pipeline.ingest.convert import write_nifti
from pipeline.ingest.read import read_scan
from pipeline.prepare.intensity import value_range
from pipeline.prepare.samples import Preparation, prepare, to_tensor
from pipeline.prepare.way_back import Layout, Peak
from pipeline.scan import Scan, SeriesRef
from pipeline.score.listing import Listing
from pipeline.score.maps.dicom import write_dicom
from pipeline.score.maps.dicom_objects import DicomMap
from pipeline.score.maps.drawing import NO_MAP, Draw
from pipeline.score.maps.kinds import DicomMaps
from pipeline.score.maps.picture import picture
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.workspace import safe_cell, whole_file


@dataclass(frozen=True, slots=True)
class MapRow:
    """A line of index.csv.

    Attributes:
        source, series_uid: As in scores.csv.
        about: The class that the map speaks for; empty if there is no map.
        score: The scan's anomaly score.
        peak: Where the map is highest; None if it has one value everywhere, or there is no map.
        png, nifti, dicom: Files, beside index.csv; empty where there is none.
        note: Why a file is missing.
    """

    source: str
    series_uid: str
    score: float
    about: str = ""
    peak: Peak | None = None
    png: str = ""
    nifti: str = ""
    dicom: str = ""
    note: str = ""

    def cells(self) -> list[str]:
        """Its text, in the order of `HEADER`."""
        voxel: list[str] = [str(index) for index in self.peak.voxel] if self.peak else [""] * 3
        mm = [f"{value:.2f}" for value in self.peak.mm] if self.peak and self.peak.mm else [""] * 3
        value = f"{self.peak.value:.6g}" if self.peak else ""
        names = [safe_cell(self.series_uid), safe_cell(self.about), f"{self.score:.4f}"]
        return [self.source, *names, *voxel, *mm, value, self.png, self.nifti, self.dicom, safe_cell(self.note)]


HEADER = ["source", "series_uid", "class", "anomaly_score", "peak_i", "peak_j", "peak_k"]
FILES = ["png", "nifti", "dicom"]
ENDINGS = ("png", "nii.gz", "dcm")
HEADER += ["peak_x_mm", "peak_y_mm", "peak_z_mm", "peak_value", *FILES, "note"]


@dataclass(frozen=True, slots=True, eq=False)
class MapWriter:
    """Writes heat-maps into a folder; file names are pseudonyms.

    Attributes:
        draw: Draws the maps; None where the model has none.
        preparation: The bundle's.
        out: Where files go.
        origin: Who draws them; its key makes the pseudonyms, too.
        dicom: Which DICOM object is written.
    """

    draw: Draw | None
    preparation: Preparation
    out: Path
    origin: Origin
    dicom: DicomMaps = "none"

    def write(
        self, scored: Iterable[tuple[SeriesRef, Outcome]], progress: Callable[[int], None] | None = None
    ) -> list[MapRow]:
        """Write the maps of scored series and `index.csv` (mode 0600); one bad series stops nothing.

        Files that the folder's last `index.csv` named and this one does not are deleted.

        Returns:
            A row for each series, sorted.
        """
        rows: list[MapRow] = []
        for ref, outcome in scored:
            rows.append(self._row(ref, outcome))
            if progress:
                progress(1)
        rows.sort(key=lambda row: (row.source, row.series_uid))
        Listing(self.out, HEADER, FILES).replace(row.cells() for row in rows)
        return rows

    def _row(self, ref: SeriesRef, outcome: Outcome) -> MapRow:
        row = MapRow(ref.source, ref.series_uid, outcome.anomaly_score or 0.0)
        if self.draw is None:
            return dataclasses.replace(row, note=NO_MAP)
        try:
            return self._written(self.draw, row, ref, outcome)
        except (ScanError, MapError) as error:
            note = str(error)
        except OSError as error:
            note = f"{Reason.UNREADABLE}: {error.strerror or type(error).__name__}"
        except (MemoryError, torch.OutOfMemoryError):
            note = f"{Reason.OVER_BUDGET}: not enough memory to draw it now"
        for ending in ENDINGS:  # nothing half-written
            (self.out / f"{self.origin.name(ref)}.{ending}").unlink(missing_ok=True)
        return dataclasses.replace(row, note=note)

    def _written(self, draw: Draw, row: MapRow, ref: SeriesRef, outcome: Outcome) -> MapRow:
        scan = read_scan(ref)
        sample = prepare(scan, self.preparation)
        drawn = draw(to_tensor(sample.slices), outcome)
        carried = sample.layout.to_source(drawn.maps)
        flat = float(carried.min()) == float(carried.max())
        peak = None if flat else sample.layout.peak(carried)
        name = self.origin.name(ref)
        row = dataclasses.replace(row, about=drawn.about, peak=peak, note="the map has one value everywhere" * flat)
        limits = (float(np.median(drawn.maps)), float(drawn.maps.max()))
        shown = value_range(scan, self.preparation.intensity, self.preparation.window)
        sheet = _sheet(scan, carried, (sample.layout, peak), shown=shown, limits=limits)
        with whole_file(self.out / f"{name}.png", mode="wb") as file:
            sheet.save(file, format="PNG")
        row = dataclasses.replace(row, png=f"{name}.png")
        if scan.geometry == "patient":
            write_nifti(self.out / f"{name}.nii.gz", dataclasses.replace(scan, voxels=carried))
            row = dataclasses.replace(row, nifti=f"{name}.nii.gz")
        if self.dicom == "none":
            return row
        return self._with_dicom(row, ref, scan, DicomMap(carried, drawn.about, drawn.cut, np.asarray(sheet)))

    def _with_dicom(self, row: MapRow, ref: SeriesRef, scan: Scan, found: DicomMap) -> MapRow:
        name = f"{Path(row.png).stem}.dcm"
        try:
            write_dicom(self.out / name, self.dicom, found, ref=ref, scan=scan, origin=self.origin)
        except MapError as error:
            return dataclasses.replace(row, note=str(error))
        return dataclasses.replace(row, dicom=name)


def _sheet(
    scan: Scan,
    carried: npt.NDArray[np.float32],
    place: tuple[Layout, Peak | None],
    *,
    shown: tuple[float, float],
    limits: tuple[float, float],
) -> Image.Image:
    """The slice with the peak (the middle one without), turned to patient axes, with the heat over it."""
    layout, peak = place
    heat, voxels = layout.turn.apply(carried), layout.turn.apply(scan.voxels)
    middle = (np.array(layout.shape, np.float64) - 1) // 2 if peak is None else np.array(peak.voxel, np.float64)
    column, row, k = layout.turn.place(middle, layout.shape).tolist()
    image = np.swapaxes(voxels[:, :, int(k)], 0, 1)
    grey = ((image - shown[0]) / (shown[1] - shown[0])).clip(0, 1)
    width, height = (scan.spacing[axis] for axis in layout.turn.source[:2])
    mark = None if peak is None else (row, column)
    return picture(grey, heat[:, :, int(k)].T, limits, pixel=(height, width), mark=mark)
