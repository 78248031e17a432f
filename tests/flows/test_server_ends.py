"""The embedded server does not outlive its run, not even after kill -9."""

import socket
import subprocess
import sys
import time

import pytest

from flows.embedded import _reserved_port


def _alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def test_a_process_ends_with_the_one_that_was_killed():
    code = (
        "import subprocess, sys, time\n"
        "from flows.embedded import end_with_this_process\n"
        "other = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "keeper = end_with_this_process(other.pid)\n"
        "print(other.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _alive(pid)


def test_who_is_watched_for_stays_alive_though_nobody_keeps_the_watcher():
    code = (
        "import gc, subprocess, time\n"
        "from flows.embedded import end_with_this_process\n"
        "other = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "kept = [end_with_this_process(other.pid)]\n"
        "assert end_with_this_process(other.pid) is kept[0]\n"
        "kept.append(kept)\n"
        "del kept\n"
        "gc.collect()\n"
        "time.sleep(1)\n"
        "print(other.poll())\n"
        "other.kill()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["None"]


def test_a_reserved_port_goes_to_nobody_else_and_can_be_listened_on():
    with _reserved_port() as reserved:
        port = reserved.getsockname()[1]
        for _ in range(50):
            with _reserved_port() as other:
                assert other.getsockname()[1] != port
        with socket.socket() as plain, pytest.raises(OSError, match="in use"):
            plain.bind(("127.0.0.1", port))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
