"""pynetdicom's server with metered connections, a bound on their number, and no traceback on standard error."""

import socket
from collections.abc import Sequence
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from pipeline.pacs.limits import Limits
from pipeline.pacs.meter import MeteredSocket
from pipeline.pacs.peers import Peer, allows_host


class BoundedServer(ThreadedAssociationServer):
    """An association server within limits; these and `peers` are set before the first connection is taken."""

    limits: Limits = Limits()
    peers: Sequence[Peer] | None = None
    daemon_threads = True
    request_queue_size = 64

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Take a connection, metered."""
        connection, address = super().get_request()
        return MeteredSocket(connection, self.limits), address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is looked at; else it is closed without a word.

        There may be twice as many as associations; the second half is for hosts on the list, whoever else calls.
        """
        active, most = len(self.active_associations), self.limits.associations
        return active < most or (active < 2 * most and allows_host(self.peers, str(client_address[0])))

    def shutdown(self) -> None:
        """Stop listening; pynetdicom's own would also take the server off a list that it is not on."""
        BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a traceback would name the peer and quote what it sent."""


def make_bounded(
    entity: AE,
    address: tuple[str, int],
    handlers: Sequence[evt.EventHandlerType],
    limits: Limits,
    peers: Sequence[Peer] | None,
) -> BoundedServer:
    """Bind a server.

    Raises:
        OSError: If the address cannot be bound.
    """
    server = entity.make_server(address, evt_handlers=list(handlers), server_class=BoundedServer)
    assert isinstance(server, BoundedServer)  # make_server is typed as the union of its classes
    server.limits, server.peers = limits, peers
    return server
