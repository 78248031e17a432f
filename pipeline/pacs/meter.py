"""A connection that counts: no unit longer than agreed, no object larger than allowed, no peer that drips for ever."""

import contextlib
import socket
import time

from pipeline.pacs.limits import Limits

HEADER = 6  # PS3.8 9.3: type, reserved, length of what follows (4 bytes, big-endian)
REQUEST_SECONDS = 10.0  # from the connection until an association is let in
LONGEST_REQUEST = 256 * 2**10  # an A-ASSOCIATE-RQ with 128 contexts and all transfer syntaxes stays below


class MeteredSocket(socket.socket):
    """A connected socket that reads within limits; beyond them it raises OSError, as a broken connection does.

    pynetdicom reads a unit whole before it looks at it, and one may claim 4 GiB; here the claim is seen first.

    Args:
        plain: The connection, taken over.
        limits: What this association may do.
    """

    def __init__(self, plain: socket.socket, limits: Limits) -> None:
        super().__init__(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.settimeout(min(limits.idle_seconds, REQUEST_SECONDS))
        self.in_object = 0
        self.total = 0
        self.overrun = ""
        self._limits = limits
        self._end = time.monotonic() + min(limits.seconds, REQUEST_SECONDS)
        self._header = bytearray()
        self._left = 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read at most `bufsize` bytes, and never beyond the end of a unit.

        Raises:
            OSError: If a limit is passed, or nothing came for as long as a peer may be idle.
        """
        if self._left:
            read = super().recv(min(bufsize, self._left), flags)
            self._left -= len(read)
        else:
            read = super().recv(min(bufsize, HEADER - len(self._header)), flags)
            self._header += read
            if len(self._header) == HEADER:
                self._left = int.from_bytes(self._header[2:], "big")
                self._header.clear()
        self.in_object += len(read)
        self.total += len(read)
        self._check()
        return read

    def admit(self) -> None:
        """From now on the limits of an association hold: until then a peer, unknown, has REQUEST_SECONDS."""
        self.settimeout(self._limits.idle_seconds)
        self._end = time.monotonic() + self._limits.seconds
        self.next_object()

    def next_object(self) -> None:
        """Begin to count anew: what was sent until now belonged to an object that is done."""
        self.in_object = 0

    def hang_up(self) -> None:
        """End the connection, also under a thread that waits for it."""
        with contextlib.suppress(OSError):  # closed already
            self.shutdown(socket.SHUT_RDWR)

    def _check(self) -> None:
        if self._left > max(self._limits.pdu_bytes, LONGEST_REQUEST):
            self.overrun = "unit longer than agreed"
        elif self.in_object > self._limits.object_bytes:
            self.overrun = "object larger than allowed"
        elif self.total > self._limits.total_bytes:
            self.overrun = "more bytes than one association may send"
        elif time.monotonic() > self._end:
            self.overrun = "association longer than allowed"
        if self.overrun:
            raise OSError(self.overrun)
