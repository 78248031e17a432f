"""The arguments of `scanshift shift`, apart from its work, so that help is instant."""

import argparse
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `scanshift shift`."""
    command.add_argument("reference", type=Path, metavar="REFERENCE", help="a folder, a labels.csv or a bundle")
    command.add_argument("incoming", type=Path, metavar="INCOMING", help="a folder or a labels.csv")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="for shift.html and shift.json")
    command.add_argument("-w", "--workspace", type=Path, metavar="WORKSPACE")
    command.add_argument("--bundle", type=Path, metavar="BUNDLE", help="look at both sides through its network")
    command.add_argument("--reference-site", default="", metavar="NAME", help="only these rows of a labels.csv")
    command.add_argument("--incoming-site", default="", metavar="NAME", help="only these rows of a labels.csv")
    command.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings, such as the backbone")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, as YAML")
    command.add_argument("--device", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    command.add_argument("--seed", type=int, metavar="N", help="of folds, resamples and permutations (default: 0)")
