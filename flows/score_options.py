"""Options of `score` and `serve` for what still arrives, what is tried again, and machines that share a folder."""

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.score.place import Share

SERVE_SETTLE_SECONDS = 60.0


def add_settle(command: argparse.ArgumentParser, *, default: float) -> None:
    """Add `--settle`."""
    command.add_argument(
        "--settle",
        type=seconds,
        default=default,
        metavar="SECONDS",
        help="series with a file that changed less than this ago wait for the next run (default: %(default)g)",
    )


def add_again(command: argparse.ArgumentParser) -> None:
    """Add `--retry` and `--shard`."""
    command.add_argument("--retry", action="store_true", help="judge again what earlier runs refused")
    command.add_argument(
        "--shard",
        default="",
        metavar="i/n",
        help="score one of n shares of the folder, on one of n machines with the same FOLDER and OUT",
    )


def seconds(text: str) -> float:
    """A number of seconds, 0 or more.

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, 0 or more")
    return found


def asked_share(options: argparse.Namespace) -> "Share | None":
    """This machine's share of the folder; None where it scores it alone.

    Raises:
        ConfigError: If `--shard` is no share.
    """
    from pipeline.score.place import parse_share

    text = getattr(options, "shard", "")
    return parse_share(text) if text else None
