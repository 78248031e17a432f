"""A worker whose jobs abort, hang, balloon or leave stray bytes, as decoders of damaged files do."""

import ctypes
import os
import socket
import sys
import time

import numpy as np

from pipeline.ingest import decode_worker


def _abort(job, source):
    os.abort()


def _segfault(job, source):
    return ctypes.string_at(0)


def _hang(job, source):
    while True:
        time.sleep(1)


def _balloon(job, source):
    return np.ones(job["bytes"], np.uint8)


def _echo(job, source):
    return np.frombuffer(os.pread(source, 100, 0), np.uint8)


def _spoilt(job, source):
    """Dies on its second job only, as if the first had harmed it."""
    _spoilt.calls = getattr(_spoilt, "calls", 0) + 1
    if _spoilt.calls > 1:
        os.abort()
    return np.zeros(3, np.uint8)


def _chatty(job, source):
    sys.stderr.write("PatientName^Secret")
    sys.stdout.write("PatientName^Secret")
    sys.stdout.flush()
    return np.zeros(3, np.uint8)


def _lies(job, source):
    return np.zeros(3, np.dtype("V1"))


decode_worker.JOBS |= {
    "abort": _abort,
    "segfault": _segfault,
    "hang": _hang,
    "balloon": _balloon,
    "echo": _echo,
    "spoilt": _spoilt,
    "chatty": _chatty,
    "lies": _lies,
}
if __name__ == "__main__":
    decode_worker.serve(socket.socket(fileno=int(sys.argv[1])))
