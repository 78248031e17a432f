"""Cells of benchmarks/anomaly.py that go through the command line: another site, volumes, and across a shift."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

NORMAL = "normal"


def by_command(bench, case, detector):
    """Adapt on the normals of one site and validate on another's; what the reports say, or how it was refused.

    Args:
        case: `nih`: its normals against its pneumonias, patients halved. `adrenal`: volumes, official splits.
            `across`: guangzhou's normals against the same half of nih, where the shift makes every scan look abnormal.
            `refused`: the same with nih named as the target, its other half's scans without labels.
            `recalibrated`: the same with that half's normals labelled.
    """
    train, test = TABLES[case](bench)
    folder = bench.out / "commands" / f"{case}-{detector}"
    folder.mkdir(parents=True, exist_ok=True)
    bundle, space = folder / "bundle", bench.out / "workspace"
    adapt = ["adapt", train, "-w", space, "--bundle", bundle, "--set", "task=one_class"]
    for setting in (f"detector={detector}", f"backbone={bench.options.backbone}", "seed=0"):
        adapt += ["--set", setting]
    if case in AIMED:
        adapt += ["--set", "target_sites=[nih]"]
    record = {"adapt": scanshift(*adapt)}
    if record["adapt"] and record["adapt"]["exit"]:
        return record
    record["validate"] = scanshift("validate", bundle, test, "-w", space, "-o", folder / "validation")
    metrics = folder / "validation" / "metrics.json"
    record["metrics"] = json.loads(metrics.read_text(encoding="utf-8")) if metrics.exists() else None
    return record  # the metrics say what the report warns of and what the policy promised


def scanshift(*arguments):
    """Run a command: its result, or the line with which it ended, and its exit code."""
    command = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())"]
    done = subprocess.run([*command, *map(str, arguments), "--json"], check=False, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    said = json.loads(lines[-1]) if lines and done.returncode == 0 else None
    return {"exit": done.returncode, "result": said, "error": (done.stderr.strip().splitlines() or [""])[-1]}


def _table(path, rows):
    """Write rows of a labels.csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _read(folder):
    """Rows of a folder's labels.csv, their paths absolute."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return [{**row, "path": str((folder / row["path"]).resolve())} for row in csv.DictReader(file)]


def _some(bench, rows):
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[n] for n in order[: bench.options.limit or None]]


def _nih(bench):
    """Normals of half of the patients, and everything of the others'."""
    first, others = _halves(bench)
    ours = [{**row, "split": ""} for row in first if row["label"] == NORMAL]
    return _pair(bench, "nih", ours, others)


def _halves(bench):
    """Rows of nih, by patient: a half to learn from, and one to test on."""
    rows = _read(site_folder(bench, "nih"))
    patients = np.unique([row["patient"] for row in rows])
    np.random.default_rng(0).shuffle(patients)
    first = set(patients[: len(patients) // 2].tolist())
    others = [{**row, "split": "test"} for row in rows if row["patient"] not in first]
    return [row for row in rows if row["patient"] in first], others


def _adrenal(bench):
    rows = _read(Path(bench.options.adrenal))
    ours = [row for row in rows if row["split"] != "test" and row["label"] == NORMAL]
    return _pair(bench, "adrenal", ours, [row for row in rows if row["split"] == "test"])


def _guangzhou(bench):
    rows = _read(site_folder(bench, "guangzhou"))
    return [{**row, "split": ""} for row in rows if row["split"] == "train" and row["label"] == NORMAL]


def _across(bench):
    return _pair(bench, "across", _guangzhou(bench), _halves(bench)[1])


def _refused(bench):
    first, others = _halves(bench)
    return _pair(bench, "refused", _guangzhou(bench) + [{**row, "split": "", "label": ""} for row in first], others)


def _recalibrated(bench):
    first, others = _halves(bench)
    normals = [{**row, "split": ""} for row in first if row["label"] == NORMAL]
    return _pair(bench, "recalibrated", _guangzhou(bench) + normals, others)


def _pair(bench, name, ours, others):
    """The tables to adapt on and to validate on."""
    tables = bench.out / "commands"
    return (
        _table(tables / f"{name}-train.csv", _some(bench, ours)),
        _table(tables / f"{name}-test.csv", _some(bench, others)),
    )


def site_folder(bench, site):
    """A site's DICOM folder, written by make_hospital.py (once)."""
    folder = bench.out / site
    if not (folder / "labels.csv").exists():
        tool = str(bench.options.tool)
        subprocess.run([sys.executable, tool, "cxr", str(folder), "--site", site], check=True)
    return folder


TABLES = {
    "nih": _nih,
    "adrenal": _adrenal,
    "across": _across,
    "refused": _refused,
    "recalibrated": _recalibrated,
}
AIMED = ("refused", "recalibrated")
