"""The arguments of `scanshift models`, apart from its work, so that help is instant."""

import argparse
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The verbs of `scanshift models`."""
    verbs = command.add_subparsers(dest="action", required=True, metavar="VERB")
    text = "write a new bundle with the same weights and another decision policy"
    change = verbs.add_parser("set-policy", help=text, description=text, epilog=command.epilog, allow_abbrev=False)
    change.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
    change.add_argument("bundle", type=Path, metavar="BUNDLE")
    change.add_argument("new", type=Path, metavar="NEW", help="folder of the new bundle; must not be there")
    change.add_argument(
        "--policy",
        required=True,
        metavar="TEXT",
        help="false_alarm=RATE, sensitivity=SHARE, capacity=READINGS/SCANS or cost=RATIO@PREVALENCE",
    )
