"""The listener in a process of its own: eight modalities at once, kill -9 in the middle, and how it is ended."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from pynetdicom.dsutils import encode

from tests.pipeline.pacs.sender import associate, image

SENDER = Path(__file__).with_name("sender.py")


def send(port, series, count, rows=32):
    """Start a modality."""
    arguments = [sys.executable, SENDER, str(port), str(series), str(count), str(rows)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def acknowledged(sender):
    """Which images it was told are safe, once it has ended."""
    out, _ = sender.communicate(timeout=200)
    return [int(line) for line in out.splitlines()]


def received(folder):
    """Data set bytes of every file under a final name, by SOP Instance UID; each must parse whole."""
    found = {}
    for path in folder.glob("*/*.dcm"):
        ds = pydicom.dcmread(path)
        assert len(ds.PixelData) == ds.Rows * ds.Columns * 2
        found[str(ds.SOPInstanceUID)] = path
    return found


def is_whole(path, sent):
    """Whether a file ends in the very bytes that were sent, right behind its file meta."""
    content, wanted = path.read_bytes(), encode(sent, False, True)
    start = 144 + int.from_bytes(content[140:144], "little")  # preamble, DICM, group length element
    return content[128:132] == b"DICM" and content[start:] == wanted


@pytest.mark.slow
def test_eight_associations_of_500_images_lose_none(command, tmp_path):
    process, port = command(tmp_path / "in")
    started = time.monotonic()
    senders = [send(port, series, 500) for series in range(8)]
    assert [len(acknowledged(sender)) for sender in senders] == [500] * 8
    took = time.monotonic() - started
    assert [sender.returncode for sender in senders] == [0] * 8
    found = received(tmp_path / "in")
    assert len(found) == 4000
    for series in range(8):
        for k in range(500):
            sent = image(series, k)
            assert is_whole(found[sent.SOPInstanceUID], sent)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "4000 stored\n")
    assert sorted(error.splitlines()) == ["association of MODALITY ended: 500 stored"] * 8
    sys.stdout.write(f"4,000 images in {took:.1f} s\n")


@pytest.mark.slow
def test_kill_9_leaves_only_whole_files_and_every_acknowledged_one(command, tmp_path):
    folder = tmp_path / "in"
    process, port = command(folder)
    senders = [send(port, series, 300, 256) for series in range(4)]
    while len(list(folder.glob("*/*.dcm"))) < 100:
        time.sleep(0.01)
    process.kill()
    process.wait(30)
    safe = {series: acknowledged(sender) for series, sender in enumerate(senders)}
    assert 0 < sum(map(len, safe.values())) < 1200
    found = received(folder)
    sent = {str(image(series, k).SOPInstanceUID): (series, k) for series in range(4) for k in range(300)}
    for uid, path in found.items():
        assert is_whole(path, image(*sent[uid], 256))
    lost = [k for series, numbers in safe.items() for k in numbers if image(series, k).SOPInstanceUID not in found]
    assert lost == []
    process, port = command(folder)
    assert list((folder / ".scanshift" / "listen" / "receiving").iterdir()) == []
    assert [len(acknowledged(send(port, series, 300, 256))) for series in range(4)] == [300] * 4
    assert len(received(folder)) == 1200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_between_two_objects(command, tmp_path, number, code):
    process, port = command(tmp_path / "in")
    sender = send(port, 1, 5000)
    while len(list((tmp_path / "in").glob("*/*.dcm"))) < 20:
        time.sleep(0.01)
    process.send_signal(number)
    out, error = process.communicate(timeout=30)
    assert process.returncode == code
    safe = acknowledged(sender)
    assert sender.returncode == 1
    assert sorted(received(tmp_path / "in")) == sorted(str(image(1, k).SOPInstanceUID) for k in safe)
    assert list((tmp_path / "in" / ".scanshift" / "listen" / "receiving").iterdir()) == []
    assert f"ended: {len(safe)} stored" in error or "refused" in error
    if code == 0:
        assert f"{len(safe)} stored" in out
    else:
        assert error.splitlines()[-1].startswith("interrupted; what was done is kept")


@pytest.mark.parametrize("stalled", [b"", b"\x01\0", b"\x01\0\0\0\xff\0half"])
def test_a_peer_that_stalls_does_not_hold_up_the_end(command, tmp_path, stalled):
    process, port = command(tmp_path / "in")
    idle = associate(port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(stalled)
        assert idle.send_c_echo().Status == 0
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)  # a peer may be idle for 60 seconds
    assert process.returncode == 0
    idle.abort()


def test_one_listener_for_one_folder(command, tmp_path):
    command(tmp_path / "in")
    second = subprocess.run(
        [Path(sys.executable).with_name("scanshift"), "listen", tmp_path / "in", "--port", "0", "--allow-any"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "another run is writing here" in second.stderr


def test_what_the_process_says_names_no_patient(command, tmp_path):
    process, port = command(tmp_path / "in")
    association = associate(port)
    bad = image(1, 1)
    bad.StudyInstanceUID = None
    assert [association.send_c_store(one).Status for one in (image(1, 0), bad)] == [0, 0xC000]
    association.release()
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=30)
    assert out == "1 refused (CORRUPT_HEADER), 1 stored\n"
    assert error == "association of MODALITY ended: 1 refused (CORRUPT_HEADER), 1 stored\n"
