"""DICOMweb: QIDO-RS finds series, WADO-RS brings them, object by object into files (PS3.18 10.4, 10.6)."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from pydicom.datadict import tag_for_keyword

from pipeline.errors import DiskSpaceError, PacsError, ScanError
from pipeline.pacs.limits import GIB, Room
from pipeline.pacs.multipart import PartReader, boundary_of
from pipeline.pacs.object_ids import read_ids
from pipeline.pacs.query import FoundSeries, Query, checked
from pipeline.pacs.store import IncomingStore, Kept
from pipeline.pacs.web_access import body, make_client, opened

PAGE = 200
LONGEST_PAGE = 32 * 2**20
QUERY_SECONDS = 300.0
SERIES_SECONDS = 6 * 3600.0
DICOM = 'multipart/related; type="application/dicom"'
AS_STORED = f"{DICOM}; transfer-syntax=*"
NOT_ACCEPTABLE = 406


class DicomWeb:
    """A DICOMweb service.

    Args:
        url: Its address.
        store: Where objects go.
        room: When there is no room for more.
        object_bytes: Largest object.
        series_bytes: Largest series.

    Raises:
        ConfigError: If the address cannot be used.
    """

    def __init__(
        self, url: str, store: IncomingStore, room: Room, *, object_bytes: int = 2 * GIB, series_bytes: int = 50 * GIB
    ) -> None:
        self._client = make_client(url)
        self._store, self._room = store, room
        self._object_bytes, self._series_bytes = object_bytes, series_bytes

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def find(self, query: Query) -> list[FoundSeries]:
        """Series that match, page by page; what an answer calls a UID and is none is passed over.

        Raises:
            PacsError: If the query fails.
        """
        found: dict[str, FoundSeries] = {}
        for study in query.studies or ("",):
            offset = 0
            while len(found) < query.most:
                answers = self._page(_conditions(query, study), offset)
                before = len(found)
                for answer in answers:
                    series = checked(query, partial(_text, answer))
                    if series is not None:
                        found.setdefault(series.series, series)
                if len(answers) < PAGE or len(found) == before:  # the last page, or the same one for ever
                    break
                offset += len(answers)
        return list(found.values())[: query.most]

    def fetch(self, found: FoundSeries, counts: Counter[str]) -> None:
        """Bring one series.

        Raises:
            PacsError: If it broke off; what came whole is kept.
            DiskSpaceError: If there is no room.
        """
        try:
            self._fetch(found, counts, AS_STORED)
        except PacsError as error:
            if error.status != NOT_ACCEPTABLE:
                raise
            self._fetch(found, counts, DICOM)

    def _fetch(self, found: FoundSeries, counts: Counter[str], accept: str) -> None:
        path = f"studies/{found.study}/series/{found.series}"
        with opened(self._client, path, accept=accept) as response:
            boundary = boundary_of(response.headers.get("Content-Type", ""))
            pieces = body(response, longest=self._series_bytes, seconds=SERIES_SECONDS)
            for part in PartReader(pieces, boundary, self._object_bytes).parts(self._store.new_part):
                counts[self._keep(part, found)] += 1

    def _keep(self, part: Path, found: FoundSeries) -> str:
        try:
            if shortage := self._room.shortage():
                raise DiskSpaceError(f"incoming folder: too little {shortage}")
            ids = read_ids(part)
            if ids.series != found.series:
                return "refused"
            size = part.stat().st_size
            kept = self._store.keep(part, ids)
        except ScanError as error:
            return f"refused ({error.code})"
        finally:
            part.unlink(missing_ok=True)
        if kept is Kept.STORED:
            self._room.took(size)
        return kept.value

    def _page(self, conditions: Mapping[str, str | list[str]], offset: int) -> list[dict[str, Any]]:
        # Wild cards stay as they are: Orthanc 1.10 takes %2A for the three characters.
        asked = urlencode({**conditions, "limit": PAGE, "offset": offset}, doseq=True, safe="*?", quote_via=quote)
        with opened(self._client, f"series?{asked}", accept="application/dicom+json") as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                return []
            content = b"".join(body(response, longest=LONGEST_PAGE, seconds=QUERY_SECONDS))
        try:
            answers = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PacsError("the answer to the query is not JSON; a DICOMweb service would be right") from error
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise PacsError("the answer to the query is no list of series")
        return answers


def _conditions(query: Query, study: str) -> dict[str, str | list[str]]:
    asked = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": query.series,
        "Modality": query.modality,
        "StudyDate": query.dates,
        "PatientID": query.patient,
        "SeriesDescription": query.description,
    }
    fields = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
    chosen = {keyword: value for keyword, value in asked.items() if value}
    return {**chosen, "includefield": [_tag(keyword) for keyword in fields]}


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


def _text(answer: dict[str, Any], keyword: str) -> str:
    """The first value of an element in the DICOM JSON model; empty where there is none."""
    element = answer.get(_tag(keyword))
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else ""
    return str(value) if isinstance(value, str | int) else ""
