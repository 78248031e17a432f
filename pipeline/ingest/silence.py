"""Keeps libraries silent: their warnings quote header values, and so patients."""

import contextlib
import logging
import threading
import warnings

from pydicom import config


class _Quiet:
    """One silence for all threads: it is a setting of the process, so the first to come makes it, the last ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                for library in ("pydicom", "highdicom"):  # and left so: their words are no one's business
                    logging.getLogger(library).setLevel(logging.CRITICAL)
                self._undo.enter_context(warnings.catch_warnings())
                self._undo.enter_context(config.disable_value_validation())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._undo.close()


_QUIET = _Quiet()


def quiet() -> contextlib.AbstractContextManager[None]:
    """Keep libraries from printing or logging warnings, which quote header values."""
    return _QUIET
