"""Which way a PACS is reached: DICOMweb, C-GET or C-MOVE, by its address and the method asked for."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pipeline.pacs.dicomweb import DicomWeb
from pipeline.pacs.dimse import DimseGet, DimseMove
from pipeline.pacs.dimse_link import Dialler, parse_node
from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.listener import Address, Listener
from pipeline.pacs.network import quiet_network
from pipeline.pacs.peers import parse_peer
from pipeline.pacs.query import Source
from pipeline.pacs.store import IncomingStore
from pipeline.pacs.web_access import make_client


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a PACS.

    Attributes:
        url: `https://...` of a DICOMweb service, or `dicom://AET@host:port`.
        method: For DIMSE: `get` or `move`.
        address: Our AE title; for `move` also where to listen meanwhile.
        destination: For `move`: AE title of a listener on the same folder that runs already; empty for one of our own.
        limits: What one association, or one answer, may bring.
    """

    url: str
    method: str
    address: Address
    destination: str
    limits: Limits


def check_address(url: str) -> None:
    """Check the address of a PACS without reaching for it.

    Raises:
        ConfigError: If it cannot be used.
    """
    if url.startswith("dicom:"):
        parse_node(url)
    else:
        make_client(url).close()


@contextmanager
def open_source(access: Access, store: IncomingStore, room: Room, *, say: Callable[[str], None]) -> Iterator[Source]:
    """The way to a PACS, for as long as it is needed.

    Raises:
        ConfigError: If the address cannot be used.
        SourceError: If no listener can be started for C-MOVE.
    """
    if not access.url.startswith("dicom:"):
        sizes = {"object_bytes": access.limits.object_bytes, "series_bytes": access.limits.total_bytes}
        with closing(DicomWeb(access.url, store, room, **sizes)) as web:
            yield web
        return
    dialler = Dialler(parse_node(access.url), access.address.aet, access.limits)
    with quiet_network(store.receiving):
        if access.method == "get":
            yield DimseGet(dialler, store, room)
        elif access.destination:
            yield DimseMove(dialler, access.destination, Counter, room)
        else:
            with _listening(access, dialler, store, room, say) as listener:
                yield DimseMove(dialler, access.address.aet, lambda: listener.counts, room)


@contextmanager
def _listening(
    access: Access, dialler: Dialler, store: IncomingStore, room: Room, say: Callable[[str], None]
) -> Iterator[Listener]:
    """A listener for this one PACS."""
    peers = [parse_peer(f"{dialler.node.aet}@{dialler.node.host}")]
    listener = Listener(store, access.address, peers=peers, limits=access.limits, room=room, say=say)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
