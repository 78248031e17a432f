"""Gzip with its checksum compared on reading, which nibabel and Python's readers of NIfTI leave out."""

from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from isal import igzip, isal_zlib

_OPEN: Callable[..., Any] = igzip.IGzipFile
DAMAGED: Any = (igzip.BadGzipFile, isal_zlib.error)


def inflating(file: BinaryIO) -> BinaryIO:
    """The uncompressed content of an open gzip file.

    Reading raises EOFError where the stream ends early, and one of `DAMAGED` where its checksum does not fit.
    """
    return cast(BinaryIO, _OPEN(fileobj=file, mode="rb"))


def deflating(file: IO[Any]) -> BinaryIO:
    """A stream that writes gzip to an open file, at the fastest level and without name or time stamp."""
    return cast(BinaryIO, _OPEN(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0))
