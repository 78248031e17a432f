"""The listener: what it takes, what it turns away, and that nothing half done or foreign lies in its folder."""

import logging
import socket
import time
from io import BytesIO

import pydicom
import pytest
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from pipeline.ingest.find import find_files
from pipeline.pacs.limits import Limits
from pipeline.pacs.peers import Peer
from tests.pipeline.pacs.sender import CT, associate, image


def store(association, *images):
    """Send images; the statuses answered."""
    return [association.send_c_store(one).get("Status") for one in images]


def store_as(association, ds, sop_class, sop_instance):
    """Send an image under UIDs that are not its own; the status answered."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = sop_class
    request.AffectedSOPInstanceUID = pydicom.uid.UID(sop_instance, validation_mode=0)
    request.DataSet = BytesIO(encode(ds, False, True))
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer.Status


def wait_until(condition):
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_an_image_is_on_disk_as_it_was_sent_when_it_is_acknowledged(listening):
    running = listening()
    association = associate(running.port)
    assert store(association, image(1, 0)) == [0]
    (path,) = running.files
    there = pydicom.dcmread(path)
    assert there.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert path.read_bytes().endswith(encode(image(1, 0), False, True))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert running.unfinished == []
    association.release()


def test_names_are_hashes_and_ingest_sees_the_images_alone(listening):
    running = listening()
    association = associate(running.port)
    store(association, *(image(1, k) for k in range(3)))
    association.release()
    found = [found.source for found in find_files([running.store.folder])]
    assert len(found) == 3
    assert all(len(folder) == 16 and len(name) == 36 for folder, name in (source.split("/") for source in found))
    assert set("".join(found)) <= set("0123456789abcdef/.dcm")


def test_echo(listening):
    association = associate(listening().port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize(
    ("peers", "title", "called"),
    [
        ((Peer("OTHER"),), "MODALITY", "SCANSHIFT"),
        ((Peer("MODALITY", frozenset({"192.0.2.1"})),), "MODALITY", "SCANSHIFT"),
        ((Peer("MODALITY"),), "MODALITY", "SOMEONE"),
        ((Peer("MODALITY"),), "modality", "SCANSHIFT"),
        ((), "MODALITY", "SCANSHIFT"),
    ],
)
def test_who_is_not_on_the_list_is_rejected(listening, peers, title, called):
    running = listening(peers=peers)
    association = associate(running.port, title, called)
    assert association.is_rejected
    assert running.listener.counts == {"rejected": 1}


def test_anyone_may_send_where_that_was_asked_for(listening):
    association = associate(listening(peers=None).port, "NOBODY")
    assert store(association, image(1, 0)) == [0]
    association.release()


def test_the_same_image_again_is_success_and_one_file(listening):
    running = listening()
    association = associate(running.port)
    assert store(association, image(1, 0), image(1, 0)) == [0, 0]
    assert len(running.files) == 1
    assert running.listener.counts == {"stored": 1, "repeated": 1}
    association.release()


def test_another_image_of_the_same_uid_is_refused_and_the_first_kept(listening):
    running = listening()
    association = associate(running.port)
    other = image(1, 1)
    other.SOPInstanceUID = image(1, 0).SOPInstanceUID
    assert store(association, image(1, 0), other) == [0, 0x0111]
    assert pydicom.dcmread(running.files[0]).PixelData == image(1, 0).PixelData
    assert running.unfinished == []
    association.release()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SeriesInstanceUID", "../../../../evil"),
        ("SeriesInstanceUID", ""),
        ("SeriesInstanceUID", None),
        ("StudyInstanceUID", "/etc"),
        ("SeriesInstanceUID", "1" * 65),
    ],
)
def test_an_image_without_proper_uids_is_not_understood(listening, tmp_path, keyword, value):
    running = listening()
    bad = image(1, 0)
    delattr(bad, keyword)
    if value is not None:
        bad.add(pydicom.DataElement(keyword, "UI", pydicom.uid.UID(value, validation_mode=0), validation_mode=0))
    association = associate(running.port)
    assert store(association, bad, image(1, 1)) == [0xC000, 0]
    assert len(running.files) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"incoming"}
    assert running.unfinished == []
    association.release()


@pytest.mark.parametrize(
    ("sop_class", "sop_instance"), [(CT, "1.2.3"), ("1.2.840.10008.5.1.4.1.1.4", "1.2.826.9.1.1"), (CT, "../../x")]
)
def test_an_image_that_is_not_what_the_request_says_is_refused(listening, tmp_path, sop_class, sop_instance):
    running = listening()
    association = associate(running.port)
    assert store_as(association, image(1, 0), sop_class, sop_instance) == 0xA900
    assert running.files == running.unfinished == []
    assert {path.name for path in tmp_path.iterdir()} == {"incoming"}
    association.abort()


def test_no_more_objects_than_one_association_may_send(listening):
    running = listening(limits=Limits(objects=2))
    association = associate(running.port)
    assert store(association, *(image(1, k) for k in range(3))) == [0, 0, 0xA700]
    association.release()
    association = associate(running.port)
    assert store(association, image(1, 2)) == [0]
    association.release()
    assert len(running.files) == 3


@pytest.mark.parametrize("limits", [Limits(object_bytes=400_000), Limits(total_bytes=400_000), Limits(seconds=-1)])
def test_beyond_a_limit_the_connection_ends_and_nothing_is_left(listening, limits):
    running = listening(limits=limits)
    association = associate(running.port)
    if association.is_established:
        assert store(association, image(1, 0, 1024)) == [None]
    running.listener.tend()
    wait_until(lambda: not running.unfinished or running.listener.tend())
    assert running.files == []


def test_room_for_so_many_files_and_no_more(listening, monkeypatch):
    monkeypatch.setattr("pipeline.pacs.limits.RECOUNT_SECONDS", 0)
    running = listening(max_files=2)
    association = associate(running.port)
    assert store(association, *(image(1, k) for k in range(3))) == [0, 0, 0xA700]
    refused = associate(running.port)
    assert refused.is_rejected
    answer = refused.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1)  # transient, temporary congestion
    running.files[0].unlink()  # someone takes an image away
    assert store(association, image(1, 2)) == [0]
    association.release()


def test_no_room_on_the_disk(listening):
    running = listening(reserve_bytes=2**60)
    assert associate(running.port).is_rejected


def test_no_more_associations_than_allowed_at_once(listening):
    running = listening(limits=Limits(associations=2))
    first, second = associate(running.port), associate(running.port)
    assert first.is_established
    assert second.is_established
    assert associate(running.port).is_rejected
    first.release()
    second.release()


@pytest.mark.parametrize(
    "sent", [b"\x01\0\xff\xff\xff\xff" + b"x" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x04\0\0\0\0\x04abcd"]
)
def test_whoever_talks_nonsense_is_cut_off_and_others_are_served(listening, sent):
    running = listening(limits=Limits(idle_seconds=2))
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(sent)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    association = associate(running.port)
    assert store(association, image(1, 0)) == [0]
    association.release()


def test_whoever_says_nothing_is_cut_off(listening):
    running = listening(limits=Limits(idle_seconds=1))
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(b"\x01\0\0")
        assert connection.recv(10) == b""


def test_nothing_is_logged_but_counts(listening, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    running = listening()
    association = associate(running.port, "MODALITY")
    bad = image(1, 1)
    del bad.SeriesInstanceUID
    store(association, image(1, 0), bad)
    association.release()
    wait_until(lambda: running.listener.tend() or running.said)
    assert running.said == ["association of MODALITY ended: 1 refused (CORRUPT_HEADER), 1 stored"]
    out, error = capfd.readouterr()
    assert not [word for word in ("Secret", "SECRET", "1.2.826") if word in out + error + caplog.text]
