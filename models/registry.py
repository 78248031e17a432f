"""Looking a name up in a registry, with an error that lists what is known."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from models.errors import UnknownNameError

T = TypeVar("T")


def lookup(kind: str, table: Mapping[str, T], name: str) -> T:
    """Return `table[name]`.

    Raises:
        UnknownNameError: If the name is not there; the message lists the nearest known names first.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownNameError(f"unknown {kind} {name!r}{hint} (known: {', '.join(table)})")
