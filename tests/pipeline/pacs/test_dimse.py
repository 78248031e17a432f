"""C-FIND, C-GET and C-MOVE against a PACS of pynetdicom that answers whatever a test wants."""

import logging
from collections import Counter
from contextlib import nullcontext

import pydicom
import pytest
from pynetdicom import AE, evt

from pipeline.errors import ConfigError, PacsError
from pipeline.pacs.dimse import DimseGet, DimseMove
from pipeline.pacs.dimse_link import FIND, GET, MOVE, Dialler, Node, image_classes, parse_node
from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.network import quiet_network
from pipeline.pacs.query import FoundSeries, Query
from pipeline.pacs.store import IncomingStore
from tests.pipeline.pacs.sender import CT, image

SERIES = FoundSeries("1.2.826.8.1", "1.2.826.7.1", 3)


def answer(**values):
    """An answer to a query."""
    ds = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture
def store(tmp_path):
    return IncomingStore(tmp_path / "in", "pull")


@pytest.fixture
def pacs(store):
    """Starts a PACS with these handlers; gives the way to it."""
    servers = []

    def start(handlers, limits=None):
        entity = AE("PACS")
        for model in (FIND, GET, MOVE):
            entity.add_supported_context(model)
        entity.add_supported_context(CT, scu_role=True, scp_role=True)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        node = Node("PACS", "127.0.0.1", server.server_address[1])
        return Dialler(node, "SCANSHIFT", limits or Limits(idle_seconds=10))

    with quiet_network(store.receiving):
        yield start
        for server in servers:
            server.shutdown()


def get(dialler, store):
    """A source that uses C-GET."""
    return DimseGet(dialler, store, Room(store.folder, reserve_bytes=0))


def test_series_are_found_study_by_study(pacs, store):
    asked = []

    def find(event):
        ds = event.identifier
        asked.append((ds.QueryRetrieveLevel, ds.get("StudyInstanceUID"), ds.get("StudyDate"), ds.get("PatientID")))
        if ds.QueryRetrieveLevel == "STUDY":
            yield 0xFF00, answer(StudyInstanceUID="1.1")
            yield 0xFF00, answer(StudyInstanceUID="1.2")
        else:
            series = ds.StudyInstanceUID + ".5"
            yield 0xFF00, answer(SeriesInstanceUID=series, Modality="CT", NumberOfSeriesRelatedInstances=4)
            yield 0xFF00, answer(SeriesInstanceUID=series + ".1", Modality="MR")

    query = Query(modality="CT", dates="20260101-", patient="P7")
    found = get(pacs([(evt.EVT_C_FIND, find)]), store).find(query)
    assert found == [FoundSeries("1.1", "1.1.5", 4), FoundSeries("1.2", "1.2.5", 4)]
    assert asked == [("STUDY", "", "20260101-", "P7"), ("SERIES", "1.1", None, None), ("SERIES", "1.2", None, None)]


def test_answers_that_are_no_uids_are_passed_over(pacs, store):
    def find(event):
        if event.identifier.QueryRetrieveLevel == "STUDY":
            yield 0xFF00, answer(StudyInstanceUID=pydicom.uid.UID("../../1", validation_mode=0))
            yield 0xFF00, answer(PatientName="Secret")
            yield 0xFF00, answer(StudyInstanceUID="1.1")
        else:
            yield 0xFF00, answer(SeriesInstanceUID=pydicom.uid.UID("/etc", validation_mode=0))
            yield 0xFF00, answer(SeriesInstanceUID="1.1.1")

    assert get(pacs([(evt.EVT_C_FIND, find)]), store).find(Query()) == [FoundSeries("1.1", "1.1.1", 0)]


def test_a_query_that_fails_is_told(pacs, store):
    def find(_event):
        yield 0xA700, None

    with pytest.raises(PacsError, match="query failed with status 0xA700"):
        get(pacs([(evt.EVT_C_FIND, find)]), store).find(Query())


def test_objects_of_another_series_are_refused_and_the_others_kept(pacs, store, caplog):
    caplog.set_level(logging.DEBUG)

    def send(_event):
        yield 3
        for ds in (image(1, 0), image(2, 0), image(1, 1)):
            yield 0xFF00, ds

    counts = Counter()
    get(pacs([(evt.EVT_C_GET, send)]), store).fetch(SERIES, counts)
    assert counts == {"stored": 2, "refused": 1}
    assert len(list(store.folder.glob("*/*.dcm"))) == 2
    assert list(store.receiving.iterdir()) == []
    assert not [word for word in ("Secret", "SECRET", "1.2.826") if word in caplog.text]


def test_a_pacs_that_hangs_up_leaves_no_half_object(pacs, store):
    def send(event):
        yield 2
        yield 0xFF00, image(1, 0)
        event.assoc.abort()
        yield 0xFF00, image(1, 1)

    counts = Counter()
    with pytest.raises(PacsError) as told:
        get(pacs([(evt.EVT_C_GET, send)]), store).fetch(SERIES, counts)
    assert told.value.again
    assert len(list(store.folder.glob("*/*.dcm"))) == counts["stored"]
    assert list(store.receiving.iterdir()) == []


def test_an_object_larger_than_allowed_ends_the_association(pacs, store):
    def send(_event):
        yield 1
        yield 0xFF00, image(1, 0, 1024)

    dialler = pacs([(evt.EVT_C_GET, send)], Limits(object_bytes=500_000, idle_seconds=10))
    with pytest.raises(PacsError):
        get(dialler, store).fetch(SERIES, Counter())
    assert list(store.folder.glob("*/*.dcm")) == []
    assert list(store.receiving.iterdir()) == []


@pytest.mark.parametrize(("images", "told"), [(0, True), (2, False)])
def test_what_a_pacs_could_not_send_is_told_where_no_number_shows_it(pacs, store, images, told):
    def send(_event):
        yield 2
        yield 0xFF00, image(1, 0)
        yield 0xFF00, image(2, 0)  # another series, which is refused

    source = get(pacs([(evt.EVT_C_GET, send)]), store)
    found = FoundSeries(SERIES.study, SERIES.series, images)
    with pytest.raises(PacsError, match="could not send some") if told else nullcontext():
        source.fetch(found, Counter())
    assert len(list(store.folder.glob("*/*.dcm"))) == 1


def test_a_move_asks_for_our_listener(pacs, store):
    asked = []

    def move(event):
        asked.append((event.move_destination, event.identifier.SeriesInstanceUID))
        yield None, None

    source = DimseMove(pacs([(evt.EVT_C_MOVE, move)]), "LISTENER", Counter, Room(store.folder, reserve_bytes=0))
    with pytest.raises(PacsError, match="0xA801"):  # that PACS knows no such destination
        source.fetch(SERIES, Counter())
    assert asked == [("LISTENER", "1.2.826.7.1")]


def test_nobody_there_and_a_rejection_may_be_tried_again(store):
    with quiet_network(store.receiving), pytest.raises(PacsError, match=r"not reached|aborted") as told:
        get(Dialler(Node("PACS", "127.0.0.1", 1), "SCANSHIFT", Limits()), store).find(Query())
    assert told.value.again


def test_images_are_offered_twice_and_fit_into_an_association():
    classes = image_classes()
    assert CT in classes
    assert 2 * len(classes) + 1 <= 128


def test_addresses():
    assert parse_node("dicom://PACS@host:104") == Node("PACS", "host", 104)
    assert parse_node("dicom://MY%20PACS@[::1]:104") == Node("MY PACS", "::1", 104)
    for url in ("dicom://host:104", "dicom://A@host", "dicom://A@host:x", "dicom://AAAAAAAAAAAAAAAAA@host:1", "dicom:"):
        with pytest.raises(ConfigError):
            parse_node(url)
