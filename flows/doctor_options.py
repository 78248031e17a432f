"""The arguments of `scanshift doctor`, apart from its work, so that help is instant."""

import argparse
from pathlib import Path

CHECKS = (
    "packages",
    "weights",
    "decoders",
    "accelerator",
    "disk",
    "database",
    "clock",
    "prefect-settings",
    "prefect-server",
    "prefect-scheduler",
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `scanshift doctor`."""
    command.add_argument("-w", "--workspace", type=Path, metavar="WORKSPACE", help="whose database and disk")
    command.add_argument("--only", action="append", choices=CHECKS, metavar="CHECK", help=", ".join(CHECKS))
    command.add_argument(
        "--offline", action="store_true", help="watch a small run, and tell every address beyond loopback it tries"
    )
