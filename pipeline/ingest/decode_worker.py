"""The process that decodes: it gets open files, never names, and may die without harm to anyone else.

`python -P -m pipeline.ingest.decode_worker FD` serves jobs from the socket FD until it closes. A job is JSON behind its
length, with two file descriptors beside it: the file to read and an empty memory file for the pixels. The kernel
ends the process when a job takes too long (SIGALRM) and fails its allocations beyond the job's memory (RLIMIT_AS).
"""

import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.ingest.budget import BUDGET_BYTES

LENGTH = struct.Struct("<Q")
READY = b"R"
PAGE = resource.getpagesize()
UNKNOWN_SPACE = 2**32

Job = Mapping[str, Any]
Pixels = npt.NDArray[Any]


def serve(channel: socket.socket) -> None:
    """Do jobs until the other end closes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_FSIZE, BUDGET_BYTES)
    base = _address_space()
    channel.sendall(READY)
    while True:
        head, fds, _, _ = socket.recv_fds(channel, LENGTH.size, 2)
        if len(head) != LENGTH.size or len(fds) != 2:
            return
        job = json.loads(_exactly(channel, LENGTH.unpack(head)[0]))
        signal.setitimer(signal.ITIMER_REAL, job["seconds"])
        _limit(resource.RLIMIT_AS, base + job["memory"])
        try:
            reply = _done(job, *fds)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for fd in fds:
                os.close(fd)
        text = json.dumps(reply).encode()
        channel.sendall(LENGTH.pack(len(text)) + text)


def _done(job: Job, source: int, target: int) -> dict[str, Any]:
    """The reply to a job: shape and type of the pixels in the memory file, or what is wrong."""
    from pipeline.ingest.faults import FAULTS  # imports nibabel and Pillow, which the first job can wait for

    try:
        pixels = JOBS[job["kind"]](job, source)
        os.ftruncate(target, pixels.nbytes)
        if pixels.nbytes:
            with mmap.mmap(target, pixels.nbytes) as shared:
                np.frombuffer(shared, dtype=pixels.dtype).reshape(pixels.shape)[...] = pixels
    except MemoryError:
        return {"memory": True}
    except ScanError as error:
        return {"code": error.code.value, "words": error.words}
    except FAULTS as error:
        return {"fault": type(error).__name__}
    return {"dtype": pixels.dtype.str, "shape": list(pixels.shape)}


def _frames(job: Job, source: int) -> Pixels:
    """Decode frames, each given as the places of its fragments: shape (frames, rows, columns[, 3])."""
    from pipeline.ingest.codestreams import decode_codestream, layout_from
    from pipeline.ingest.silence import quiet

    layout = layout_from(job["layout"])
    decoded: Pixels | None = None
    with quiet():
        for n, fragments in enumerate(job["frames"]):
            codestream = b"".join(os.pread(source, length, offset) for offset, length in fragments)
            frame = decode_codestream(codestream, layout)
            if decoded is None:
                decoded = np.empty((len(job["frames"]), *frame.shape), dtype=frame.dtype)
            decoded[n] = frame
    if decoded is None:
        raise ValueError("no frames asked for")
    return decoded


def _image(_job: Job, source: int) -> Pixels:
    """Decode a PNG or JPEG file: shape (rows, columns) or (rows, columns, 3)."""
    from pipeline.ingest.photographs import upright_pixels

    with os.fdopen(os.dup(source), "rb") as file:
        return upright_pixels(file)


JOBS: dict[str, Callable[[Job, int], Pixels]] = {
    "frames": _frames,
    "image": _image,
}


def _limit(kind: int, wanted: int) -> None:
    """Set a limit, or as much of it as the limits of whoever started ScanShift leave."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _address_space() -> int:
    """Bytes of address space in use, what RLIMIT_AS counts; where /proc is not mounted, more than it can be."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    except OSError:
        return UNKNOWN_SPACE


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = channel.recv(min(count, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
