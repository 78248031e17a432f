"""Network addresses that a watched process tried, and which of them lie beyond this machine."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

DNS = 53
RESOLVER = "/run/systemd/resolve/"  # asks name servers on behalf of whoever connects to its sockets
SILENT_FAMILIES = {"AF_UNIX", "AF_LOCAL", "AF_NETLINK", "AF_UNSPEC"}  # this machine's own, and none

_CALL = re.compile(r"\b(connect|bind|sendto|sendmsg|sendmmsg)\(")
_FAMILY = re.compile(r"sa_family=(AF_\w+)")
_IPV4 = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([0-9.]+)"\)')
_IPV6 = re.compile(r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"')
_PATH = re.compile(r'sun_path=@?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address that a process connected to, sent to or listened on.

    Attributes:
        call: `connect`, `bind`, `sendto`, `sendmsg`, `sendmmsg` or `look-up`.
        host: IP address, or a name that was looked up; a family such as `AF_PACKET`, or a path, of other sockets.
        port: 0 where there is none.
    """

    call: str
    host: str
    port: int = 0

    @property
    def beyond(self) -> bool:
        """Whether it reaches, or lets itself be reached, beyond loopback.

        A name server counts wherever it is: the one on loopback asks others.
        """
        try:
            address = ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return self.call != "look-up" or self.host not in ("", "localhost", "ip6-localhost")
        mapped = getattr(address, "ipv4_mapped", None) or address
        return not mapped.is_loopback or (self.port == DNS and self.call != "bind")

    def __str__(self) -> str:
        return f"{self.call} {self.host}" + (f" port {self.port}" if self.port else "")


def from_strace(lines: Iterable[str]) -> list[Attempt]:
    """Attempts in what `strace -e trace=network` wrote; sockets within the machine, such as AF_UNIX, are none."""
    found: list[Attempt] = []
    for line in lines:
        call = _CALL.search(line)
        for family in _FAMILY.findall(line) if call else ():
            found += _attempts(call.group(1), family, line) if call else []
    return list(dict.fromkeys(found))


def _attempts(call: str, family: str, line: str) -> list[Attempt]:
    if family in ("AF_INET", "AF_INET6"):
        pattern = _IPV4 if family == "AF_INET" else _IPV6
        pairs = pattern.findall(line)
        return [Attempt(call, host, int(port)) for port, host in pairs] or [Attempt(call, family)]
    if family in SILENT_FAMILIES:
        return [Attempt(call, path) for path in _PATH.findall(line) if path.startswith(RESOLVER)]
    return [Attempt(call, family)]


def from_hook(lines: Iterable[str]) -> list[Attempt]:
    """Attempts in what the audit hook wrote: call, host and port, separated by tabs."""
    found = [Attempt(call, host, int(port)) for call, host, port in (line.rstrip("\n").split("\t") for line in lines)]
    return list(dict.fromkeys(found))
