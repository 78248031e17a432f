"""The arguments of `scanshift nightly` and `serve` beyond those of `score`, so that help is instant."""

import argparse
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What a night does beside scoring."""
    command.add_argument("--labels", type=Path, metavar="LABELS.csv", help="labels as they arrive, for calibration")
    command.add_argument("--pull", default="", metavar="URL", help="fetch first: https://... or dicom://AET@host:port")
    command.add_argument("--pull-days", type=_days, default=1, metavar="N", help="days back (default: %(default)s)")
    command.add_argument("--pull-modality", default="", metavar="CR", help="only series of this modality")
    command.add_argument("--aet", default="SCANSHIFT", help="our AE title for dicom:// (default: %(default)s)")
    command.add_argument("--report-url", default="", metavar="URL", help="where a web server shows OUT, for the link")


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= 3650:
        raise argparse.ArgumentTypeError("0 to 3650 would be right")
    return days
