"""Writing the results of scored series as DICOM, and `index.csv`, which says which is whose."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from pipeline.errors import ResultError
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.silence import quiet
from pipeline.model_record import ModelRecord
from pipeline.scan import SeriesRef
from pipeline.score.listing import Listing
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from pipeline.score.results.document import instance_uid, structured_report
from pipeline.workspace import require_space, safe_cell, whole_file

HEADER = ("source", "series_uid", "file", "sop_instance_uid", "note")
NOT_DICOM = "no DICOM result: the series is not DICOM, so that there is no study to put it in"
BYTES, BYTES_PER_IMAGE = 32_768, 1024


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A line of index.csv.

    Attributes:
        source, series_uid: As in scores.csv.
        file: Beside index.csv; empty where there is none.
        uid: SOP Instance UID of the file.
        note: Why it is missing.
    """

    source: str
    series_uid: str
    file: str = ""
    uid: str = ""
    note: str = ""

    def cells(self) -> list[str]:
        """Its text, in the order of `HEADER`."""
        return [self.source, safe_cell(self.series_uid), self.file, self.uid, safe_cell(self.note)]


@dataclass(frozen=True, slots=True, eq=False)
class ResultWriter:
    """Writes results into a folder; file names are pseudonyms.

    Attributes:
        record: The bundle's record.
        out: Where files go.
        origin: Who scored them.
    """

    record: ModelRecord
    out: Path
    origin: Origin

    def write(
        self, scored: Iterable[tuple[SeriesRef, Outcome]], progress: Callable[[int], None] | None = None
    ) -> list[ResultRow]:
        """Write a file for each scored DICOM series (mode 0600), and `index.csv`; one bad series stops nothing.

        A result that is there is left alone. Files that the folder's last `index.csv` named and this one does not are
        deleted.

        Returns:
            A row for each series, sorted.

        Raises:
            DiskSpaceError: If the files would not fit.
            OSError: If the folder cannot be written.
        """
        pairs = list(scored)
        require_space(self.out, sum(BYTES + BYTES_PER_IMAGE * len(ref.files) for ref, _ in pairs))
        rows: list[ResultRow] = []
        for ref, outcome in pairs:
            rows.append(self._row(ref, outcome))
            if progress:
                progress(1)
        rows.sort(key=lambda row: (row.source, row.series_uid))
        Listing(self.out, HEADER, ("file",)).replace(row.cells() for row in rows)
        return rows

    def _row(self, ref: SeriesRef, outcome: Outcome) -> ResultRow:
        if ref.format != "dicom":
            return ResultRow(ref.source, ref.series_uid, note=NOT_DICOM)
        path = self.out / f"{self.origin.name(ref)}.dcm"
        uid = instance_uid(ref, outcome, self.origin)
        if _holds(path) != uid:
            try:
                encoded = encode(structured_report(ref, outcome, self.record, self.origin))
            except ResultError as error:
                path.unlink(missing_ok=True)  # of another bundle, or another result of this one
                return ResultRow(ref.source, ref.series_uid, note=f"no DICOM result: {error}")
            with whole_file(path, mode="wb", private=True) as file:
                file.write(encoded)
        return ResultRow(ref.source, ref.series_uid, path.name, uid)


def encode(made: pydicom.Dataset) -> bytes:
    """The bytes of its file.

    Raises:
        ResultError: If a value copied from the images cannot be encoded.
    """
    stream = io.BytesIO()
    try:
        with quiet():
            made.save_as(stream, enforce_file_format=True)
    except FAULTS as error:
        raise ResultError(f"the images' header cannot be copied ({type(error).__name__})") from error
    return stream.getvalue()


def _holds(path: Path) -> str:
    """SOP Instance UID of a file that is there; empty where there is none, or it cannot be read."""
    try:
        with quiet():
            meta = pydicom.filereader.read_file_meta_info(path)
            return str(meta.get("MediaStorageSOPInstanceUID", ""))
    except FAULTS:
        return ""
