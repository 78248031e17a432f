"""The command line. Heavy modules are imported by the command that needs them, so that help is instant."""

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from flows.doctor_options import add_arguments as doctor_arguments
from flows.elsewhere_options import add_elsewhere
from flows.models_options import add_arguments as models_arguments
from flows.nightly_options import add_arguments as nightly_arguments
from flows.pacs_options import add_pacs
from flows.score_options import SERVE_SETTLE_SECONDS, add_again, add_settle
from flows.shift_options import add_arguments as shift_arguments
from flows.validate_options import class_share

EPILOG = (
    "For research use only; not a medical device. "
    "Exit codes: 0 done, 1 failed or refused, 2 wrong use, 130 interrupted."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        from flows import commands

        return commands.run(options)
    except KeyboardInterrupt:  # while modules were still being imported
        sys.stderr.write("interrupted\n")
        return 130


def console() -> int:
    """`scanshift`: as `main`, and what was imported is not swept once more when Python ends, which takes seconds."""
    code = main()
    gc.freeze()
    return code


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    top = argparse.ArgumentParser(
        prog="scanshift",
        description="Adapt ImageNet-pretrained CNNs to your own scans, validate per class and site, score folders.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"scanshift {version('scanshift')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, epilog=EPILOG, allow_abbrev=False)
        command.add_argument("--version", action="version", version=f"scanshift {version('scanshift')}")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    ingest = add("ingest", "find, check, group and catalogue every series")
    ingest.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    _archives(ingest)
    _workspace(ingest, required=True)
    ingest.add_argument("--catalog", default="", metavar="URL", help="of a PostgreSQL database, instead of a file")

    convert = add("convert", "write each series as ingest read it to NIfTI, and series.csv")
    convert.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    _archives(convert)
    convert.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")

    _check(add("check", "what is there and what would become of it: series, geometry, pixels, codecs, overlap, time"))

    deidentify = add("deidentify", "write DICOM objects without what identifies the patient (PS3.15 basic profile)")
    deidentify.add_argument("source", type=Path, metavar="SOURCE")
    deidentify.add_argument("dest", type=Path, metavar="DEST")
    deidentify.add_argument("--key", type=Path, required=True, metavar="FILE", help="secret; made if it is not there")
    deidentify.add_argument("--dates", choices=["remove", "shift"], default="remove", help="(default: %(default)s)")
    deidentify.add_argument("--retain-device", action="store_true", help="keep serial numbers and the like")
    deidentify.add_argument("--clean-descriptors", action="store_true", help="keep known words of descriptions")
    deidentify.add_argument(
        "--mask", action="append", default=[], metavar="TOP,LEFT,HEIGHT,WIDTH", help="blacken burned-in text (pixels)"
    )
    deidentify.add_argument("--pixels-clean", action="store_true", help="vouch that no text is burned in")
    deidentify.add_argument("--table", type=Path, metavar="FILE", help="CSV that links sources to output; private")

    labels = add("labels", "write a labels.csv template, from class sub-folders or with empty labels")
    labels.add_argument("folder", type=Path, metavar="FOLDER")
    _archives(labels)
    labels.add_argument("-o", "--out", type=Path, required=True, metavar="LABELS.csv")

    adapt = add("adapt", "adapt a pretrained backbone to labelled scans, and write a bundle")
    adapt.add_argument("labels", type=Path, metavar="LABELS.csv")
    _workspace(adapt, required=True)
    adapt.add_argument("--bundle", type=Path, required=True, metavar="DIR")
    adapt.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    adapt.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, as YAML")
    adapt.add_argument("--dry-run", action="store_true", help="say what would be done")

    validate = add("validate", "measure a bundle per class and site, with intervals")
    validate.add_argument("bundle", type=Path, metavar="BUNDLE")
    validate.add_argument("labels", type=Path, metavar="LABELS.csv")
    _workspace(validate, required=True)
    validate.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    validate.add_argument(
        "--shortcuts", action="store_true", help="look whether it knows the site, or a marker at the border, instead"
    )
    validate.add_argument(
        "--prevalence",
        action="append",
        type=class_share,
        default=[],
        metavar="CLASS=SHARE",
        help="PPV and NPV where this share of scans has the class; repeatable; `anomaly` names the decision",
    )
    validate.add_argument(
        "--no-gallery", action="store_true", help="no pictures in the report; text burned into scans shows in them"
    )

    compare = add("compare", "two validations of the same scans, paired: which model is better, class by class")
    compare.add_argument("a", type=Path, metavar="A", help="a folder that validate wrote")
    compare.add_argument("b", type=Path, metavar="B", help="another one")
    compare.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="for compare.html, compare.json")
    compare.add_argument("--seed", type=int, default=0, metavar="N", help="of resamples (default: %(default)s)")

    shift_arguments(add("shift", "how far incoming scans lie from reference scans, and what follows"))

    score = add("score", "score every series below a folder; goes on where an earlier run stopped")
    _scoring(score)
    score.add_argument("--heatmaps", action="store_true", help="of each scan called abnormal: picture, and NIfTI")
    score.add_argument(
        "--dicom-maps",
        choices=["none", "parametric", "segmentation", "secondary-capture"],
        default="none",
        help="heat-maps as DICOM objects in the scan's own study, too (default: %(default)s)",
    )
    add_settle(score, default=0.0)
    add_again(score)
    score.add_argument("--dry-run", action="store_true", help="say what would be done")

    nightly = add("nightly", "one night by hand: fetch, score what is new, look for drift, write the diary")
    _scoring(nightly)
    add_settle(nightly, default=0.0)
    nightly_arguments(nightly)
    nightly.add_argument("--night", default="", metavar="DATE", help="which night it is (default: today)")

    serve = add("serve", "a night on schedule, for an incoming folder, until stopped")
    _scoring(serve)
    add_settle(serve, default=SERVE_SETTLE_SECONDS)
    nightly_arguments(serve)
    serve.add_argument("--cron", default="0 4 * * *", help="when, as cron says it (default: %(default)s)")
    serve.add_argument("--timezone", default="UTC", help="IANA name (default: %(default)s)")
    serve.add_argument("--port", type=int, default=4200, help="of the Prefect server (default: %(default)s)")

    add_pacs(add)

    add("backbones", "which backbones there are, and which have weights here")
    weights = add("weights", "list, check or import pretrained weights")
    weights.add_argument("action", choices=["list", "check", "add"])
    weights.add_argument("file", nargs="?", type=Path, metavar="FILE", help="for add: a file with torchvision's name")

    models_arguments(add("models", "bundles: what was measured, who approved which; another decision policy"))

    doctor_arguments(add("doctor", "what works on this machine, and whether a run stays silent"))

    demo = add("demo", "the whole loop on the sample data")
    demo.add_argument("-o", "--out", type=Path, default=Path("demo_out"), metavar="OUT")
    demo.add_argument("--samples", type=Path, default=Path("sample_data"), metavar="DIR")

    workspace = add("workspace", "keep a workspace tidy")
    workspace.add_argument("action", choices=["clean"])
    _workspace(workspace, required=True)
    return top


def _archives(command: argparse.ArgumentParser) -> None:
    command.add_argument("--archives", action="store_true", help="open zip archives found in folders too")


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    command.add_argument("--bundle", type=Path, metavar="BUNDLE", help="would it score them; did it see them")
    command.add_argument("-o", "--out", type=Path, metavar="OUT", help="for check.html, check.json and series.csv")
    command.add_argument("--names", action="store_true", help="show sources and UIDs; for your own eyes")
    command.add_argument("--headers-only", action="store_true", help="leave the pixels alone")
    _archives(command)
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _workspace(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument("-w", "--workspace", type=Path, required=required, metavar="WORKSPACE")


def _scoring(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER")
    _archives(command)
    command.add_argument(
        "--bundle", type=Path, required=True, metavar="BUNDLE", help="a folder; or approved:NAME, with -w WORKSPACE"
    )
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    _workspace(command, required=False)
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    command.add_argument(
        "--engine",
        default="",
        help="auto, eager, amp, compile, openvino or openvino_bfloat16 (default: what the bundle says)",
    )
    add_elsewhere(command)
    command.add_argument(
        "--dicom-results",
        action="store_true",
        help="a structured report of each scored DICOM series, in its own study, in OUT/dicom",
    )


if __name__ == "__main__":
    sys.exit(console())
