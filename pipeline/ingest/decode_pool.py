"""Worker processes that decode pixels for this one: kept between files, replaced when one dies or hangs."""

import atexit
import contextlib
import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pipeline
from pipeline.errors import Reason, ScanError
from pipeline.ingest.budget import BUDGET_BYTES
from pipeline.ingest.decode_worker import LENGTH, READY

PROGRAM = ("-m", "pipeline.ingest.decode_worker")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")  # no passwords for a decoder taken over
SPARE_MEMORY = 2**29  # what decoders and their libraries need besides the pixels
COPIES = 6  # of the pixels that a decoder may hold at once
SECONDS = 20.0
BYTES_PER_SECOND = 1e6  # the slowest that a decoder may be
GRACE_SECONDS = 30.0
START_SECONDS = 120.0
REPLY_BYTES = 2**16
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
PIXEL_TYPES = frozenset(np.dtype(code) for code in ("?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4"))

Pixels = npt.NDArray[Any]


class _DiedError(Exception):
    """The worker is gone, or did not answer in time."""


class _NotStartedError(Exception):
    """No worker could be started, for which no file can be blamed."""


class _OutOfMemoryError(Exception):
    """The worker is alive, but the job asked for more memory than it may have."""


class DecodePool:
    """Workers, each started when it is first needed. Safe to use from several threads.

    Args:
        size: Workers at most.
        program: What Python runs as a worker: `-m` and a module, or a file; the socket's descriptor is put behind it.
        seconds: Time that a job may take besides what its bytes need.
    """

    def __init__(self, size: int, *, program: Sequence[str] = PROGRAM, seconds: float = SECONDS) -> None:
        self.size = size
        self._program = tuple(program)
        self._seconds = seconds
        self._slots = threading.BoundedSemaphore(size)
        self._idle: list[_Worker] = []

    def decode(self, file: int, job: Mapping[str, Any], expected_bytes: int) -> Pixels:
        """Have a worker decode something of an open file.

        A worker that fails after other jobs may have been harmed by them, so the job is tried once more in a fresh one.

        Args:
            file: File descriptor to read from.
            job: `kind` and what that kind needs.
            expected_bytes: Bytes of pixels that the header declares, which time and memory are allowed for.

        Returns:
            The pixels, read-only, in memory shared with the worker.

        Raises:
            ScanError: What the worker found wrong; DECODE_KILLED if it died or took too long.
        """
        limits = {
            "seconds": self._seconds + expected_bytes / BYTES_PER_SECOND,
            "memory": SPARE_MEMORY + COPIES * min(expected_bytes, BUDGET_BYTES),
        }
        with self._slots:
            worker = self._take()
            while True:
                fresh = worker.jobs == 0
                try:
                    pixels = worker.decode(file, {**job, **limits})
                except (_DiedError, _NotStartedError, _OutOfMemoryError) as error:
                    worker.end()
                    if fresh:
                        raise _refusal(error, limits["seconds"]) from None
                    worker = _Worker(self._program)
                except BaseException as error:
                    if isinstance(error, ScanError):
                        self._idle.append(worker)
                    else:  # interrupted in the middle of an answer
                        worker.end()
                    raise
                else:
                    self._idle.append(worker)
                    return pixels

    def _take(self) -> "_Worker":
        try:
            return self._idle.pop()
        except IndexError:
            return _Worker(self._program)

    def close(self) -> None:
        """End the idle workers."""
        while self._idle:
            self._idle.pop().end()


def decode_pool() -> DecodePool:
    """This process's pool: workers outlive a scan, since starting one takes as long as decoding many."""
    return _pool_of(os.getpid())


@cache
def _pool_of(_pid: int) -> DecodePool:
    pool = DecodePool(min(8, len(os.sched_getaffinity(0))))
    atexit.register(pool.close)
    return pool


def _refusal(error: Exception, seconds: float) -> ScanError:
    if isinstance(error, _OutOfMemoryError):
        return ScanError(Reason.OVER_BUDGET, "decoding needs more memory than its size allows")
    if isinstance(error, _NotStartedError):
        return ScanError(Reason.DECODE_KILLED, "no process to decode in could be started; is there memory for one?")
    return ScanError(
        Reason.DECODE_KILLED, f"the decoder crashed on it or took more than {seconds:.0f} s; the file may be damaged"
    )


def _python_path() -> str:
    """Where a worker finds libraries: as this process does, but never in whatever folder is the current one."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(Path(pipeline.__file__).resolve().parents[1]), *filter(os.path.isabs, named)])


class _Worker:
    """One process and the socket to it."""

    def __init__(self, program: Sequence[str]) -> None:
        self.jobs = 0
        self._ready = False
        self._channel, theirs = socket.socketpair()
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _python_path()}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | quiet,
                start_new_session=True,  # Ctrl-C is for the parent, which then closes the socket
            )

    def decode(self, file: int, job: Mapping[str, Any]) -> Pixels:
        """Send a job and wait for its pixels."""
        target = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            reply = self._ask(job, [file, target])
            self.jobs += 1
            if reply.get("memory"):
                raise _OutOfMemoryError
            if "dtype" not in reply:
                raise _told(reply)
            return _shared(target, reply)
        finally:
            os.close(target)

    def _ask(self, job: Mapping[str, Any], fds: list[int]) -> dict[str, Any]:
        text = json.dumps(job).encode()
        self._await_start()
        self._channel.settimeout(job["seconds"] + GRACE_SECONDS)
        try:
            socket.send_fds(self._channel, [LENGTH.pack(len(text))], fds)
            self._channel.sendall(text)
            (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
            if length > REPLY_BYTES:
                raise _DiedError
            reply = json.loads(self._exactly(length))
        except (OSError, ValueError) as error:  # also the time-out
            raise _DiedError from error
        if not isinstance(reply, dict):
            raise _DiedError
        return reply

    def _await_start(self) -> None:
        if not self._ready:
            self._channel.settimeout(START_SECONDS)
            try:
                self._ready = self._channel.recv(len(READY)) == READY
            except OSError as error:
                raise _NotStartedError from error
        if not self._ready:
            raise _NotStartedError

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            part = self._channel.recv(count - len(received))
            if not part:
                raise _DiedError
            received += part
        return bytes(received)

    def end(self) -> None:
        """Close the socket, kill the process, and wait for it."""
        self._channel.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)


def _told(reply: Mapping[str, Any]) -> ScanError:
    """The worker's refusal as an error; its words are ours, but a decoder that was taken over could send others."""
    code, words = str(reply.get("code")), str(reply.get("words"))
    if code in set(Reason) and words.isprintable():
        return ScanError(Reason(code), words[:300])
    fault = str(reply.get("fault"))
    return ScanError(
        Reason.DECODE_FAILED, f"the pixels cannot be decoded ({fault[:40] if fault.isidentifier() else 'fault'})"
    )


def _shared(target: int, reply: Mapping[str, Any]) -> Pixels:
    """The memory file as an array, once nobody can make it smaller."""
    fcntl.fcntl(target, fcntl.F_ADD_SEALS, SEALS)
    dtype, shape = np.dtype(str(reply["dtype"])), tuple(int(size) for size in reply["shape"])
    size = os.fstat(target).st_size
    if dtype not in PIXEL_TYPES or not size or int(np.prod(shape)) * dtype.itemsize != size:
        raise _DiedError
    pixels = mmap.mmap(target, size, prot=mmap.PROT_READ)
    return np.frombuffer(pixels, dtype=dtype).reshape(shape)
