"""Who may send: a list of AE titles, each with or without the host that it must come from."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.pacs.network import ae_title


@dataclass(frozen=True, slots=True)
class Peer:
    """One entry of the list.

    Attributes:
        aet: AE title that the peer calls itself.
        addresses: IP addresses that it may come from; empty for any.
    """

    aet: str
    addresses: frozenset[str] = frozenset()


def parse_peer(text: str) -> Peer:
    """Read `AET` or `AET@HOST`; a host's name is looked up once, now.

    Raises:
        ConfigError: If the title is none, or the host is not known.
    """
    title, at, host = text.partition("@")
    if not at:
        return Peer(ae_title(title))
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--allow {text}: host not known ({error.strerror})") from error
    return Peer(ae_title(title), frozenset(str(entry[4][0]) for entry in found))


def allows(peers: Sequence[Peer] | None, title: str, address: str) -> bool:
    """Whether a caller is on the list; None lets anyone in."""
    if peers is None:
        return True
    return any(peer.aet == title.strip() and _may_come_from(peer, address) for peer in peers)


def allows_host(peers: Sequence[Peer] | None, address: str) -> bool:
    """Whether anyone on the list may call from an address, before a title is known."""
    return peers is None or any(_may_come_from(peer, address) for peer in peers)


def _may_come_from(peer: Peer, address: str) -> bool:
    return not peer.addresses or address.removeprefix("::ffff:") in peer.addresses
