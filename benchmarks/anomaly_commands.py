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
            `across`: guangzhou's normals against nih's test rows, where the shift makes every scan look abnormal.
    """
    train, test = TABLES[case](bench)
    folder = bench.out / "commands" / f"{case}-{detector}"
    folder.mkdir(parents=True, exist_ok=True)
    bundle, space = folder / "bundle", bench.out / "workspace"
    adapt = ["adapt", train, "-w", space, "--bundle", bundle, "--set", "task=one_class"]
    for setting in (f"detector={detector}", f"backbone={bench.options.backbone}", "seed=0"):
        adapt += ["--set", setting]
    record = {"adapt": None if bundle.exists() else scanshift(*adapt)}
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


def _table(path, folder, rows):
    """Write rows of a labels.csv, whose paths are those below `folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "path": str((folder / row["path"]).resolve())} for row in rows)
    return path


def _read(folder):
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _some(bench, rows):
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[n] for n in order[: bench.options.limit or None]]


def _nih(bench):
    """Normals of half of the patients, and everything of the others'."""
    folder = site_folder(bench, "nih")
    rows = _read(folder)
    patients = np.unique([row["patient"] for row in rows])
    np.random.default_rng(0).shuffle(patients)
    first = set(patients[: len(patients) // 2].tolist())
    ours = [{**row, "split": ""} for row in rows if row["patient"] in first and row["label"] == NORMAL]
    others = [{**row, "split": "test"} for row in rows if row["patient"] not in first]
    tables = bench.out / "commands"
    return (
        _table(tables / "nih-train.csv", folder, _some(bench, ours)),
        _table(tables / "nih-test.csv", folder, _some(bench, others)),
    )


def _adrenal(bench):
    folder = Path(bench.options.adrenal)
    rows = _read(folder)
    tables = bench.out / "commands"
    ours = [row for row in rows if row["split"] != "test" and row["label"] == NORMAL]
    return (
        _table(tables / "adrenal-train.csv", folder, _some(bench, ours)),
        _table(tables / "adrenal-test.csv", folder, _some(bench, [row for row in rows if row["split"] == "test"])),
    )


def _across(bench):
    folder, other = site_folder(bench, "guangzhou"), site_folder(bench, "nih")
    ours = [row for row in _read(folder) if row["split"] == "train" and row["label"] == NORMAL]
    tables = bench.out / "commands"
    test = [{**row, "split": "test"} for row in _read(other) if row["split"] == "test"]
    return (
        _table(tables / "guangzhou-train.csv", folder, _some(bench, ours)),
        _table(tables / "across-test.csv", other, _some(bench, test)),
    )


def site_folder(bench, site):
    """A site's DICOM folder, written by make_hospital.py (once)."""
    folder = bench.out / site
    if not (folder / "labels.csv").exists():
        tool = str(bench.options.tool)
        subprocess.run([sys.executable, tool, "cxr", str(folder), "--site", site], check=True)
    return folder


TABLES = {"nih": _nih, "adrenal": _adrenal, "across": _across}
