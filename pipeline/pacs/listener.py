"""The C-STORE service: takes objects from the peers on a list into the incoming folder, within limits."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pynetdicom import AE, evt
from pynetdicom.association import Association

from pipeline.errors import SourceError
from pipeline.pacs.limits import Limits, Room
from pipeline.pacs.meter import MeteredSocket
from pipeline.pacs.network import COMPRESSED, STORAGE_CLASSES, UNCOMPRESSED, printable, quiet_network
from pipeline.pacs.peers import Peer, allows
from pipeline.pacs.reception import NO_ROOM, SUCCESS, drop_unfinished, end_oversized, meter_of, receive
from pipeline.pacs.server import BoundedServer, make_bounded
from pipeline.pacs.store import IncomingStore

VERIFICATION = "1.2.840.10008.1.1"
TRANSIENT, PERMANENT = 0x02, 0x01
BY_USER, BY_PRESENTATION = 0x01, 0x03
NO_REASON, UNKNOWN_CALLER, CONGESTION, TOO_MANY = 0x01, 0x03, 0x01, 0x02
GRACE_SECONDS = 10.0
ACSE_SECONDS = 10.0
TICK = 0.05
HANG_UP_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class _Link:
    """One association: what came, and whether it has had its last object before the end."""

    peer: str
    counts: Counter[str] = field(default_factory=Counter)
    busy: bool = False
    done: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, and as whom.

    Attributes:
        aet: AE title that peers must call.
        host: Address to bind; loopback unless asked for more.
        port: TCP port; 0 for any that is free.
    """

    aet: str
    host: str = "127.0.0.1"
    port: int = 11112


class Listener:
    """A C-STORE and C-ECHO service.

    Args:
        store: Where objects go, claimed.
        address: Where to listen.
        peers: Who may send; None for anyone.
        limits: What one association may do.
        room: When there is no room for more.
        say: Takes a line for the log: counts and AE titles.
    """

    def __init__(
        self,
        store: IncomingStore,
        address: Address,
        *,
        peers: Sequence[Peer] | None,
        limits: Limits,
        room: Room,
        say: Callable[[str], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._store, self._address, self._peers = store, address, peers
        self._limits, self._room, self._say = limits, room, say
        self._links: dict[Association, _Link] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._held = ExitStack()

    def start(self) -> int:
        """Begin to listen, and return the port.

        Raises:
            SourceError: If the address cannot be bound.
        """
        with ExitStack() as held:
            held.enter_context(quiet_network(self._store.receiving))
            server = self._bind()
            held.callback(_hang_up, server)
            held.callback(server.shutdown)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": TICK}, daemon=True)
            thread.start()
            self._held = held.pop_all()
        return int(server.server_address[1])

    def tend(self) -> None:
        """Settle associations that have ended; to be called now and then."""
        with self._lock:
            ended = [(a, link) for a, link in self._links.items() if a.ident is not None and not a.is_alive()]
            for association, _ in ended:
                del self._links[association]
        for association, link in ended:
            drop_unfinished(association)
            told = ", ".join(f"{count} {what}" for what, count in sorted(link.counts.items()))
            self._tell(f"association of {link.peer} ended: {told or 'nothing sent'}")

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """End: what is being received is finished and answered, nothing new is begun.

        Args:
            grace: How long a peer has to finish its object, seconds.
        """
        self._closing = True
        end = time.monotonic() + grace
        while time.monotonic() < end:
            with self._lock:
                waiting = [a for a, link in self._links.items() if a.is_alive() and not _may_end(a, link)]
            if not waiting:
                break
            time.sleep(TICK)
        time.sleep(2 * TICK)  # the last answers go out
        with self._lock:
            living = [association for association in self._links if association.is_alive()]
        for association in living:
            association.abort(block=False)
        time.sleep(2 * TICK)
        self._held.close()
        self.tend()

    def _bind(self) -> BoundedServer:
        entity = AE(ae_title=self._address.aet)
        entity.maximum_pdu_size = self._limits.pdu_bytes
        entity.maximum_associations = 2 * self._limits.associations  # it counts those who have asked for nothing yet
        entity.network_timeout = entity.dimse_timeout = self._limits.idle_seconds
        entity.acse_timeout = ACSE_SECONDS
        entity.require_called_aet = True
        entity.add_supported_context(VERIFICATION)
        for storage_class in STORAGE_CLASSES:
            entity.add_supported_context(storage_class, UNCOMPRESSED + COMPRESSED)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_PDU_RECV, end_oversized),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, self._echoed),
            (evt.EVT_REJECTED, self._rejected),
        ]
        try:
            where = (self._address.host, self._address.port)
            return make_bounded(entity, where, handlers, self._limits, self._peers)
        except OSError as error:
            told = f"{self._address.host} port {self._address.port}"
            raise SourceError(f"{told}: cannot listen there ({error.strerror or error})") from error

    def _requested(self, event: evt.Event) -> None:
        """Turn away whoever is not on the list, and everyone while there is no room."""
        association = event.assoc
        reason: tuple[int, ...] = (PERMANENT, BY_USER, NO_REASON)
        try:
            self.tend()
            reason = self._objection(association)
        finally:  # pynetdicom swallows an error of this handler, and would accept whom it leaves undecided
            if reason:
                self.counts["rejected"] += 1
                association.acse.send_reject(*reason)
                association.kill()

    def _objection(self, association: Association) -> tuple[int, ...]:
        """Result, source and reason of a rejection; empty for who is let in, and noted as such."""
        request = association.requestor.primitive
        title = str(request.calling_ae_title) if request is not None else ""
        if not allows(self._peers, title, str(association.requestor.address)):
            self._tell(f"rejected {printable(title)}: not on the list of peers, or not from its host")
            return PERMANENT, BY_USER, UNKNOWN_CALLER
        if shortage := "time, for it is ending" if self._closing else self._room.shortage():
            self._tell(f"rejected {printable(title)} for now: too little {shortage}")
            return TRANSIENT, BY_PRESENTATION, CONGESTION
        with self._lock:
            if len(self._links) >= self._limits.associations:
                return TRANSIENT, BY_PRESENTATION, TOO_MANY
            self._links[association] = _Link(printable(title))
        meter = meter_of(association)
        if meter is not None:
            meter.admit()
        return ()

    def _tell(self, text: str) -> None:
        """Say it; that nobody reads the log any more, or its disk is full, is no reason to stop receiving."""
        with contextlib.suppress(OSError, ValueError):
            self._say(text)

    def _rejected(self, event: evt.Event) -> None:
        """Count those that pynetdicom itself turned away: wrong called title."""
        self.counts["rejected"] += 1
        with self._lock:
            self._links.pop(event.assoc, None)

    def _stored(self, event: evt.Event) -> int:
        link = self._links[event.assoc]
        link.busy = True
        try:
            received = receive(event, self._store, refusal=self._refusal(event, link))
        finally:
            link.busy, link.done = False, self._closing
            meter = meter_of(event.assoc)
            if meter is not None:
                meter.next_object()
        if received.size:
            self._room.took(received.size)
        with self._lock:
            link.counts[received.outcome] += 1
            self.counts[received.outcome] += 1
        return received.status

    def _echoed(self, event: evt.Event) -> int:
        meter = meter_of(event.assoc)
        if meter is not None:
            meter.next_object()
        return SUCCESS

    def _refusal(self, event: evt.Event, link: _Link) -> int:
        """NO_ROOM if this object may not come in, else SUCCESS."""
        too_many = sum(link.counts.values()) >= self._limits.objects
        return NO_ROOM if link.done or too_many or self._room.shortage() else SUCCESS


def _hang_up(server: BoundedServer) -> None:
    """Close every connection that is left, also of peers that stalled in the middle of a unit."""
    left = server.active_associations
    for association in left:
        meter = meter_of(association)
        if meter is not None:
            meter.hang_up()
    for association in left:
        association.join(HANG_UP_SECONDS)


def _may_end(association: Association, link: _Link) -> bool:
    """Whether an association is between two objects."""
    meter: MeteredSocket | None = meter_of(association)
    return link.done or (not link.busy and (meter is None or meter.in_object == 0))
