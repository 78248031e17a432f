"""DIMSE: C-FIND finds series, C-GET brings them back on the same association, C-MOVE sends them to a listener."""

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from pipeline.errors import DiskSpaceError, PacsError
from pipeline.pacs.dimse_link import FIND, GET, MOVE, Dialler
from pipeline.pacs.limits import Room
from pipeline.pacs.object_ids import is_uid
from pipeline.pacs.query import MOST_SERIES, FoundSeries, Query, checked
from pipeline.pacs.reception import NO_ROOM, SUCCESS, meter_of, receive
from pipeline.pacs.store import IncomingStore

PENDING = (0xFF00, 0xFF01)
SOME_FAILED = 0xB000


def find_series(dialler: Dialler, query: Query) -> list[FoundSeries]:
    """Series that match: first the studies, then the series of each.

    Raises:
        PacsError: If the query fails.
    """
    found: dict[str, FoundSeries] = {}
    with dialler.associated(FIND) as association:
        for study in query.studies or _studies(association, query):
            asked = _identifier("SERIES", StudyInstanceUID=study, SeriesInstanceUID=query.series)
            asked.Modality, asked.SeriesDescription = query.modality, query.description
            asked.NumberOfSeriesRelatedInstances = None
            here = replace(query, studies=(study,))
            for answer in _answers(association.send_c_find(asked, FIND)):
                answer.StudyInstanceUID = study  # not every PACS repeats what it was asked for
                series = checked(here, partial(_text, answer))
                if series is not None and len(found) < query.most:
                    found.setdefault(series.series, series)
            if len(found) >= query.most:
                break
    return list(found.values())


class DimseGet:
    """A PACS from which C-GET brings series; to be used inside `quiet_network`.

    Args:
        dialler: The way to it.
        store: Where objects go.
        room: When there is no room for more.
    """

    def __init__(self, dialler: Dialler, store: IncomingStore, room: Room) -> None:
        self._dialler, self._store, self._room = dialler, store, room

    def find(self, query: Query) -> list[FoundSeries]:
        """Series that match.

        Raises:
            PacsError: If the query fails.
        """
        return find_series(self._dialler, query)

    def fetch(self, found: FoundSeries, counts: Counter[str]) -> None:
        """Bring one series.

        Raises:
            PacsError: If it broke off; what came whole is kept.
            DiskSpaceError: If there is no room.
        """
        storing: evt.EventHandlerType = (evt.EVT_C_STORE, partial(self._stored, found=found, counts=counts))
        with self._dialler.associated(GET, storing=[storing]) as association:
            _settle(association.send_c_get(_series(found), GET), found)
        _require(self._room)

    def _stored(self, event: evt.Event, found: FoundSeries, counts: Counter[str]) -> int:
        refusal = NO_ROOM if self._room.shortage() else SUCCESS
        received = receive(event, self._store, series=found.series, refusal=refusal)
        meter = meter_of(event.assoc)
        if meter is not None:
            meter.next_object()
        if received.size:
            self._room.took(received.size)
        counts[received.outcome] += 1
        return received.status


class DimseMove:
    """A PACS that sends series to a listener, which puts them into the same folder; inside `quiet_network`.

    Args:
        dialler: The way to it.
        destination: AE title of the listener, as the PACS knows it.
        arrived: What the listener has received so far, by outcome.
        room: When there is no room for more.
    """

    def __init__(self, dialler: Dialler, destination: str, arrived: Callable[[], Counter[str]], room: Room) -> None:
        self._dialler, self._room = dialler, room
        self._destination, self._arrived = destination, arrived

    def find(self, query: Query) -> list[FoundSeries]:
        """Series that match.

        Raises:
            PacsError: If the query fails.
        """
        return find_series(self._dialler, query)

    def fetch(self, found: FoundSeries, counts: Counter[str]) -> None:
        """Have one series sent.

        Raises:
            PacsError: If it broke off; what came whole is kept.
            DiskSpaceError: If there is no room.
        """
        before = Counter(self._arrived())
        try:
            with self._dialler.associated(MOVE) as association:
                _settle(association.send_c_move(_series(found), self._destination, MOVE), found)
        finally:
            counts.update(Counter(self._arrived()) - before)
        _require(self._room)


def _require(room: Room) -> None:
    if shortage := room.shortage():
        raise DiskSpaceError(f"incoming folder: too little {shortage}")


def _studies(association: Association, query: Query) -> list[str]:
    asked = _identifier("STUDY", StudyInstanceUID="", StudyDate=query.dates, PatientID=query.patient)
    asked.ModalitiesInStudy = query.modality
    found = [_text(answer, "StudyInstanceUID") for answer in _answers(association.send_c_find(asked, FIND))]
    return [study for study in dict.fromkeys(found) if is_uid(study)]


def _series(found: FoundSeries) -> Dataset:
    return _identifier("SERIES", StudyInstanceUID=found.study, SeriesInstanceUID=found.series)


def _identifier(level: str, **keys: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def _answers(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Iterator[Dataset]:
    """What a C-FIND answers, at most MOST_SERIES.

    Raises:
        PacsError: If it fails or breaks off.
    """
    count = 0
    for status, identifier in responses:
        code = status.get("Status")
        if code in PENDING and identifier is not None and count < MOST_SERIES:
            count += 1
            yield identifier
        elif code not in (*PENDING, SUCCESS):
            raise PacsError(_failure("query", code), again=code is None)


def _settle(responses: Iterator[tuple[Dataset, Dataset | None]], found: FoundSeries) -> None:
    """Follow a C-GET or C-MOVE to its end; what failed of it shows in what is missing of the announced number then.

    Raises:
        PacsError: If it fails as a whole or breaks off, or some of it failed and no number was announced.
    """
    code = None
    for status, _ in responses:
        code = status.get("Status")
    if code not in (SUCCESS, SOME_FAILED):
        raise PacsError(_failure("retrieval", code), again=code is None or code >> 8 == 0xA7)
    if code == SOME_FAILED and not found.images:
        raise PacsError("the PACS could not send some objects of a series", again=True)


def _failure(what: str, code: int | None) -> str:
    return f"the {what} broke off" if code is None else f"the {what} failed with status 0x{code:04X}"


def _text(answer: Dataset, keyword: str) -> str:
    """A value of an answer; empty where it cannot be read."""
    try:
        value = answer.get(keyword)
    except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError, struct.error):
        return ""
    return "" if value is None else str(value)
