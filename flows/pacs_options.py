"""Arguments of the commands that bring images in from a PACS."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)
MOST = 10**9


def add_pacs(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add `listen` and `pull`.

    Args:
        add: Makes a command of a name and what it does.
    """
    listen = add("listen", "receive images by C-STORE into a folder until stopped")
    listen.add_argument("incoming", type=Path, metavar="INCOMING")
    _address(listen)
    listen.add_argument(
        "--allow", action="append", default=[], metavar="AET[@HOST]", help="a peer that may send; may be repeated"
    )
    listen.add_argument("--allow-any", action="store_true", help="let anyone send")
    _limits(listen)
    listen.add_argument("--max-associations", type=_number(int, 1), default=16, help="at once (default: %(default)s)")
    listen.add_argument(
        "--max-objects", type=_number(int, 1), default=100_000, help="in one association (default: %(default)s)"
    )
    listen.add_argument(
        "--max-waiting", type=_number(int), default=0, metavar="FILES", help="in the folder; 0 for no limit"
    )
    listen.add_argument(
        "--max-waiting-gib", type=_number(float), default=0, metavar="GIB", help="in the folder; 0 for no limit"
    )
    listen.add_argument(
        "--idle-seconds", type=_number(float, 1), default=60, help="how long a peer may say nothing (%(default)s)"
    )

    pull = add("pull", "fetch series from a PACS into a folder; goes on where an earlier run stopped")
    pull.add_argument("incoming", type=Path, metavar="INCOMING")
    pull.add_argument(
        "--from", dest="source", required=True, metavar="URL", help="https://... or dicom://AET@host:port"
    )
    pull.add_argument("--method", choices=["get", "move"], default="get", help="for dicom:// (default: %(default)s)")
    pull.add_argument("--destination", metavar="AET", help="for move: a listener that runs already, on INCOMING")
    _address(pull)
    pull.add_argument("--study", action="append", default=[], metavar="UID", help="may be repeated")
    pull.add_argument("--series", default="", metavar="UID")
    pull.add_argument("--modality", default="", metavar="CT")
    pull.add_argument("--since", default="", metavar="DATE", help="study date, as 2026-01-31")
    pull.add_argument("--until", default="", metavar="DATE")
    pull.add_argument("--patient", default="", metavar="ID")
    pull.add_argument("--description", default="", metavar="TEXT", help="series description; * and ? as the PACS reads")
    pull.add_argument("--limit", type=_number(int), default=0, metavar="N", help="series at most; 0 for all")
    pull.add_argument("--tries", type=int, default=3, help="for each series (default: %(default)s)")
    _limits(pull)
    pull.add_argument("--max-series-gib", type=_number(float), default=50, metavar="GIB", help="(default: %(default)s)")
    pull.add_argument("--dry-run", action="store_true", help="say what would be fetched")


def _address(command: argparse.ArgumentParser) -> None:
    command.add_argument("--aet", default="SCANSHIFT", help="our AE title (default: %(default)s)")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    command.add_argument(
        "--port", type=_number(int, 0, 65535), default=11112, help="to listen on (default: %(default)s)"
    )


def _limits(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-object-gib", type=_number(float), default=2, metavar="GIB", help="(default: %(default)s)"
    )
    command.add_argument(
        "--reserve-gib",
        type=_number(float),
        default=1,
        metavar="GIB",
        help="disk space left free (default: %(default)s)",
    )


def _number(kind: type[Number], least: int = 0, most: int = MOST) -> Callable[[str], Number]:
    """A number from the command line, within bounds; neither infinite nor none."""

    def read(text: str) -> Number:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{least} to {most} would be right")
        return value

    return read
