"""The arguments of `scanshift models`, apart from its work, so that help is instant."""

import argparse
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The verbs of `scanshift models`."""
    verbs = command.add_subparsers(dest="action", required=True, metavar="VERB")

    def add(name: str, text: str, *, workspace: bool = True) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text, epilog=command.epilog, allow_abbrev=False)
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
        verb.add_argument(
            "-w", "--workspace", type=Path, required=workspace, metavar="WORKSPACE", help="whose registry it is"
        )
        return verb

    add("list", "every bundle in the registry: state, who approved it for what, figures, parent")
    show = add("show", "all about one bundle: figures, history, parents, whether it is intact")
    _which(show)
    taken = add("add", "take a bundle into the registry, or say where it lies now")
    taken.add_argument("bundle", type=Path, metavar="BUNDLE")
    promote = add("promote", "approve a bundle; the one approved before is retired")
    _which(promote)
    _approver(promote)
    promote.add_argument("--as", dest="slot", default="default", metavar="NAME", help="for what (default: %(default)s)")
    promote.add_argument("--unvalidated", action="store_true", help="never validated, and the note says why")
    retire = add("retire", "take a bundle out of use")
    _which(retire)
    _approver(retire)
    again = add("reinstate", "make a retired bundle a candidate again, to go back to it")
    _which(again)
    _approver(again)
    change = add("set-policy", "write a new bundle with the same weights and another policy", workspace=False)
    change.add_argument("bundle", type=Path, metavar="BUNDLE")
    change.add_argument("new", type=Path, metavar="NEW", help="folder of the new bundle; must not be there")
    change.add_argument(
        "--policy",
        required=True,
        metavar="TEXT",
        help="false_alarm=RATE, sensitivity=SHARE, capacity=READINGS/SCANS or cost=RATIO@PREVALENCE",
    )


def _which(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("which", metavar="BUNDLE", help="its folder, its digest, or the first digits of it")


def _approver(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--by", required=True, metavar="NAME", help="who says so; kept in the registry alone")
    verb.add_argument("--note", default="", metavar="TEXT")
