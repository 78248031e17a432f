"""The parts of a multipart/related answer, each straight into a file; the stream is hostile."""

from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

from pipeline.errors import PacsError

LONGEST_HEADER = 16 * 2**10
LONGEST_BOUNDARY = 70  # RFC 2046 5.1.1


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        PacsError: If it is not multipart/related with one.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary("")
    if header.get_content_type() != "multipart/related" or not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise PacsError("the answer is not multipart/related; the address of a DICOMweb service would be right")
    return boundary.encode("ascii", "replace")


class PartReader:
    """Reads parts one after another.

    Args:
        chunks: The body.
        boundary: Between the parts.
        longest: Longest part, bytes.
    """

    def __init__(self, chunks: Iterator[bytes], boundary: bytes, longest: int) -> None:
        self._chunks = chunks
        self._between = b"\r\n--" + boundary
        self._longest = longest
        self._buffer = b"\r\n"  # the first boundary may stand at the very beginning

    def parts(self, new_file: Callable[[], Path]) -> Iterator[Path]:
        """Save each part that came whole; one that breaks off is deleted.

        Args:
            new_file: Makes an empty file.

        Yields:
            The file of a part, the caller's from then on.

        Raises:
            PacsError: If the body ends before its last boundary, or a part is too long or no DICOM.
        """
        self._copy_until_boundary(lambda piece: None)
        while not self._is_last():
            self._read_header()
            path = new_file()
            try:
                with path.open("wb") as file:
                    self._copy_until_boundary(file.write)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            yield path

    def _more(self) -> None:
        piece = next(self._chunks, None)
        if piece is None:
            raise PacsError("the answer broke off", again=True)
        self._buffer += piece

    def _is_last(self) -> bool:
        """Whether two dashes follow the boundary just read."""
        while len(self._buffer) < 2:
            self._more()
        return self._buffer.startswith(b"--")

    def _read_header(self) -> None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > LONGEST_HEADER:
                raise PacsError("a part of the answer has no end to its header")
            self._more()
        lines = self._buffer[:end].lower().split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        kinds = [line.partition(b":")[2].strip() for line in lines if line.startswith(b"content-type:")]
        if not any(kind.partition(b";")[0].strip() == b"application/dicom" for kind in kinds):
            raise PacsError("a part of the answer is not application/dicom")

    def _copy_until_boundary(self, write: Callable[[bytes], object]) -> None:
        """Copy up to the next boundary and step over it."""
        copied = 0
        while (end := self._buffer.find(self._between)) < 0:
            ready = max(0, len(self._buffer) - len(self._between) + 1)
            copied = self._counted(copied + ready)
            write(self._buffer[:ready])
            self._buffer = self._buffer[ready:]
            self._more()
        self._counted(copied + end)
        write(self._buffer[:end])
        self._buffer = self._buffer[end + len(self._between) :]

    def _counted(self, size: int) -> int:
        if size > self._longest:
            raise PacsError("an object of the answer is larger than allowed")
        return size
