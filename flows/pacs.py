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
    from pipeline.pacs.sources import Access

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
    store = IncomingStore(options.incoming, "listen")
    listener = Listener(store, address, peers=peers, limits=limits, room=_room(options), say=_say(options))
    with store.claimed(), _signals() as stop:
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


def pull(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift pull`."""
    from pipeline.pacs.pull import Puller
    from pipeline.pacs.query import Query, date_range
    from pipeline.pacs.sources import open_source
    from pipeline.pacs.store import IncomingStore

    if options.tries < 1:
        raise ConfigError("pull: --tries 1 or more would be right")
    query = Query(
        studies=tuple(options.study),
        series=options.series,
        modality=options.modality,
        dates=date_range(options.since, options.until),
        patient=options.patient,
        description=options.description,
        limit=options.limit,
    )
    store = IncomingStore(options.incoming, "pull")
    with store.claimed(), open_source(_access(options), store, _room(options), say=_say(options)) as source:
        puller = Puller(source, store, options.tries)
        if options.dry_run:
            found = puller.find(query)
            images = sum(series.images for series in found)
            return {"series": len(found), "images": images, "lines": [f"{len(found)} series, {images} images"]}
        pulled = puller.pull(query, make_watch(options.json))
    lines = [f"objects: {count_line(pulled.objects)}", f"series: {count_line(pulled.series)}"]
    return {**pulled.record(), "lines": [*lines, f"{pulled.missing} objects missing"]}


def _access(options: argparse.Namespace) -> "Access":
    from pipeline.pacs.limits import Limits
    from pipeline.pacs.listener import Address
    from pipeline.pacs.network import ae_title
    from pipeline.pacs.sources import Access

    return Access(
        url=options.source,
        method=options.method,
        address=Address(ae_title(options.aet), options.host, options.port),
        destination=ae_title(options.destination) if options.destination else "",
        limits=Limits(object_bytes=int(options.max_object_gib * GIB), total_bytes=int(options.max_series_gib * GIB)),
    )


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
        max_files=getattr(options, "max_waiting", 0),
        max_bytes=int(getattr(options, "max_waiting_gib", 0) * GIB),
    )


def _say(options: argparse.Namespace) -> Callable[[str], None]:
    return make_watch(options.json).note
