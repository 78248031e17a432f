"""Reaching a DICOMweb service: who we say we are, what is refused, and answers that are only so long."""

import logging
import netrc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from pipeline.errors import ConfigError, PacsError

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
TOKEN, USER, PASSWORD = "SCANSHIFT_PACS_TOKEN", "SCANSHIFT_PACS_USER", "SCANSHIFT_PACS_PASSWORD"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def make_client(url: str) -> httpx.Client:
    """A client for one service; credentials come from the environment or netrc, never from the command line.

    Raises:
        ConfigError: If the URL is not that of a service, holds a password, or would send one in clear text.
    """
    try:
        where = urlsplit(url)
        _ = where.port  # which is looked at only now
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigError("--from: https://host/path of a DICOMweb service would be right") from error
    if where.scheme not in ("http", "https") or not where.hostname or where.query or where.fragment:
        raise ConfigError("--from: https://host/path of a DICOMweb service, or dicom://AET@host:port, would be right")
    if where.username or where.password:
        raise ConfigError(f"--from: no name and password in the address; set {USER} and {PASSWORD}, or use netrc")
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log addresses, which hold UIDs and patient ids
    headers = {"Accept-Encoding": "identity"}  # no inflating bombs
    token, auth = os.environ.get(TOKEN, ""), _basic(where)
    if (token or auth) and where.scheme == "http" and where.hostname not in LOOPBACK:
        raise ConfigError("--from: credentials are not sent over http; https would be right")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{TOKEN}: a token of printable ASCII characters would be right")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(
        base_url=url.rstrip("/") + "/",
        headers=headers,
        auth=None if token else auth,
        timeout=timeout,
        follow_redirects=False,
        trust_env=where.hostname not in LOOPBACK,  # the site's proxy and certificates; none to this machine
    )


def _basic(where: SplitResult) -> httpx.BasicAuth | None:
    user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    if user:
        return httpx.BasicAuth(user, password)
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        found = netrc.netrc(str(path)).authenticators(where.hostname or "")
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError) as error:
        raise ConfigError(f"netrc cannot be used ({type(error).__name__})") from error
    return httpx.BasicAuth(found[0], found[2] or "") if found else None


@contextmanager
def opened(client: httpx.Client, path: str, *, accept: str) -> Iterator[httpx.Response]:
    """Ask, and give the answer once its status is known; its body is still to be read.

    Raises:
        PacsError: If the service is not reached, refuses, or sends us elsewhere.
    """
    try:
        with client.stream("GET", path, headers={"Accept": accept}) as response:
            _require_answer(response)
            yield response
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise PacsError("its certificate is not trusted; SSL_CERT_FILE names a site's own authority") from error
        raise PacsError(f"the service could not be read from ({type(error).__name__})", again=True) from error
    except httpx.TransportError as error:
        raise PacsError(f"the service could not be read from ({type(error).__name__})", again=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise PacsError(f"the service gave no usable answer ({type(error).__name__})") from error


def _require_answer(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_redirect or 300 <= status < 400:
        raise PacsError(f"the service sends us elsewhere (HTTP {status}); its own address would be right")
    if status not in (200, 204):
        raise PacsError(f"the service answered HTTP {status}", again=status in AGAIN, status=status)
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise PacsError("the answer is compressed, which was not asked for")


def body(response: httpx.Response, *, longest: int, seconds: float) -> Iterator[bytes]:
    """The body, piece by piece.

    Raises:
        PacsError: If it is longer than allowed, or takes longer.
    """
    end, size = time.monotonic() + seconds, 0
    for piece in response.iter_raw(2**16):
        size += len(piece)
        if size > longest:
            raise PacsError("the answer is longer than allowed")
        if time.monotonic() > end:
            raise PacsError("the answer takes longer than allowed")
        yield piece
