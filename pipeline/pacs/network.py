"""How pynetdicom is used here: silent, for it logs what is in headers, and with objects received into files."""

import contextlib
import logging
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydicom import uid
from pynetdicom import AllStoragePresentationContexts, _config

from pipeline.errors import ConfigError
from pipeline.ingest.syntaxes import DECODERS

UNCOMPRESSED = [
    str(uid.ExplicitVRLittleEndian),
    str(uid.ImplicitVRLittleEndian),
    str(uid.DeflatedExplicitVRLittleEndian),
    str(uid.ExplicitVRBigEndian),
]
COMPRESSED = list(DECODERS)
STORAGE_CLASSES = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]


@contextlib.contextmanager
def quiet_network(receiving: Path) -> Iterator[None]:
    """Silence pynetdicom, and let objects be received into files of a folder instead of into memory.

    These are settings of the whole process: one folder at a time.
    """
    logger = logging.getLogger("pynetdicom")
    chunked = _config.STORE_RECV_CHUNKED_DATASET
    before = (logger.level, logger.propagate, _config.LOG_HANDLER_LEVEL, tempfile.tempdir, threading.excepthook)
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_RECV_CHUNKED_DATASET = True
    tempfile.tempdir = str(receiving)  # pynetdicom asks for a temporary file and names no folder
    threading.excepthook = _say_nothing
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom|pynetdicom")  # they quote values
            yield
    finally:
        _config.STORE_RECV_CHUNKED_DATASET = chunked
        level, logger.propagate, _config.LOG_HANDLER_LEVEL, tempfile.tempdir, threading.excepthook = before
        logger.setLevel(level)


def _say_nothing(_arguments: threading.ExceptHookArgs) -> None:
    """The traceback of a thread that a malformed message ended: it would quote the message."""


def ae_title(text: str) -> str:
    """An AE title from the command line, checked.

    Raises:
        ConfigError: Unless it is 1 to 16 printable ASCII characters without backslash (PS3.5, VR AE).
    """
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", text) or not text.strip():
        raise ConfigError(f"AE title {text!r}: 1 to 16 letters, digits and signs would be right")
    return text.strip()


def printable(peer: str) -> str:
    """An AE title from the network as it may stand in a log line."""
    return re.sub(r"[^!-~]+", "?", peer.strip())[:16] or "?"
