"""Peers that mean harm: messages without end, connections that ask for nothing, and a log that nobody can read."""

import shutil
import socket
import struct
import threading
import time
from io import BytesIO

import pytest
from pynetdicom import evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from pipeline.pacs.limits import Limits
from tests.pipeline.pacs.sender import associate, image
from tests.pipeline.pacs.test_listener import store, wait_until


def established(port):
    """A connection on which MODALITY has an association for CT images as context 1, to send anything on."""
    asked = []
    association = associate(port, evt_handlers=[(evt.EVT_DATA_SENT, lambda event: asked.append(event.data))])
    association.abort()
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(asked[0])
    header = connection.recv(6, socket.MSG_WAITALL)
    assert header[0] == 2
    connection.recv(int.from_bytes(header[2:], "big"), socket.MSG_WAITALL)
    return connection


def unit(*fragments):
    """A P-DATA-TF of fragments (control byte, content) for context 1."""
    items = [struct.pack(">IBB", len(content) + 2, 1, control) + content for control, content in fragments]
    return struct.pack(">BBI", 4, 0, len(b"".join(items))) + b"".join(items)


def command_of(ds):
    """The encoded command of a C-STORE request."""
    message = C_STORE_RQ()
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    request.DataSet = BytesIO(b"x")
    message.primitive_to_message(request)
    return encode(message.command_set, True, True)


def is_cut_off(connection, data, most=64 * 2**20):
    """Whether the connection ends before so many bytes of these units are taken."""
    try:
        for _ in range(most // len(data)):
            connection.sendall(data)
        return False
    except OSError:
        return True


@pytest.mark.parametrize("control", [1, 0])
def test_a_message_that_would_be_gathered_in_memory_without_end_is_cut_off(listening, control):
    connection = established(listening().port)
    assert is_cut_off(connection, unit((control, bytes(100_000))))
    connection.close()


def test_a_message_of_two_commands_leaves_no_file(listening):
    running = listening()
    command = command_of(image(1, 0))
    for units in ([unit((3, command), (3, command))], [unit((3, command)), unit((0, b"x")), unit((3, command))]):
        with established(running.port) as connection:
            for one in units:
                connection.sendall(one)
            while connection.recv(4096):
                pass
    wait_until(lambda: running.listener.tend() or not running.listener._links)
    assert running.unfinished == []


def test_objects_that_were_sent_but_never_came_to_are_deleted(listening, monkeypatch):
    running = listening()
    go = threading.Event()
    keep = running.store.keep
    monkeypatch.setattr(running.store, "keep", lambda *told: (go.wait(20), keep(*told))[1])
    data = b""
    for k in range(4):
        ds = image(1, k)
        data += unit((3, command_of(ds))) + unit((2, encode(ds, False, True)))
    with established(running.port) as connection:
        connection.sendall(data)
        wait_until(lambda: len(running.unfinished) == 4)
        connection.sendall(struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0))
    go.set()
    wait_until(lambda: running.listener.tend() or not running.listener._links)
    assert running.unfinished == []
    assert len(running.files) == running.listener.counts["stored"]


def test_connections_that_ask_for_nothing_hold_nobody_up_for_long(listening, monkeypatch):
    monkeypatch.setattr("pipeline.pacs.meter.REQUEST_SECONDS", 1)
    running = listening(limits=Limits(associations=2))
    silent = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(2)]
    for connection in silent:
        connection.sendall(b"\x01\0\0\0\xff\0")
    association = associate(running.port)
    assert store(association, image(1, 0)) == [0]
    time.sleep(0.7)
    for connection in silent:
        connection.sendall(b"x")  # it drips
    assert [connection.recv(10) for connection in silent] == [b"", b""]
    assert store(association, image(1, 1)) == [0]
    association.release()


def test_whoever_is_not_on_the_list_is_rejected_also_when_nobody_can_read_the_log(listening):
    running = listening()

    def say(_text):
        raise BrokenPipeError

    running.listener._say = say
    assert associate(running.port, "OTHER").is_rejected
    association = associate(running.port)
    assert store(association, image(1, 0)) == [0]
    association.release()
    wait_until(lambda: running.listener.tend() or not running.listener._links)


def test_without_its_folder_it_takes_nothing_and_says_so(listening):
    running = listening()
    association = associate(running.port)
    shutil.rmtree(running.store.folder)
    assert store(association, image(1, 0)) == [None]
    assert associate(running.port).is_rejected
    assert running.said[-1] == "rejected MODALITY for now: too little disk, for the folder is not there"
    assert running.listener.counts["stored"] == 0
