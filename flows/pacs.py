"""The commands that bring images in from a PACS: listen and pull."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.progress import make_watch
from flows.tools import count_line
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.pacs.limits import Room

GIB = 2**30
TEND_SECONDS = 0.5


def listen(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift listen`."""
    from pipeline.pacs.limits import Limits
    from pipeline.pacs.listener import Address, Listener
    from pipeline.pacs.network import ae_title
    from pipeline.pacs.peers import parse_peer
    from pipeline.pacs.store import IncomingStore

    if bool(options.allow) == options.allow_any:
        raise ConfigError("listen: give --allow AET for every peer that may send, or --allow-any for all of them")
    peers = None if options.allow_any else [parse_peer(text) for text in options.allow]
    address = Address(ae_title(options.aet), options.host, options.port)
    limits = Limits(
        associations=options.max_associations,
        object_bytes=int(options.max_object_gib * GIB),
        objects=options.max_objects,
        idle_seconds=options.idle_seconds,
    )
    store = IncomingStore(options.incoming)
    listener = Listener(store, address, peers=peers, limits=limits, room=_room(options), say=_say(options))
    with _signals() as stop:
        port = listener.start()
        try:
            sys.stderr.write(f"listening on {address.host} port {port} as {address.aet}\n")
            while not stop.wait(TEND_SECONDS):
                listener.tend()
        finally:
            listener.stop()
        if signal.SIGINT in stop.seen:
            raise KeyboardInterrupt
    counts = dict(listener.counts)
    return {"counts": counts, "lines": [count_line(counts)]}


class _Stop(threading.Event):
    """Set by a signal; knows which."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()


@contextmanager
def _signals() -> Iterator[_Stop]:
    """Let SIGTERM and Ctrl-C end the command in good order, for as long as it runs."""
    stop = _Stop()

    def note(number: int, _frame: object) -> None:
        stop.seen.add(number)
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _room(options: argparse.Namespace) -> "Room":
    from pipeline.pacs.limits import Room

    return Room(
        options.incoming,
        reserve_bytes=int(options.reserve_gib * GIB),
        max_files=options.max_waiting,
        max_bytes=int(options.max_waiting_gib * GIB),
    )


def _say(options: argparse.Namespace) -> Callable[[str], None]:
    return make_watch(options.json).note
