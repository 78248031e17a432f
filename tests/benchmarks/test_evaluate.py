"""The benchmark of evaluation: its loop and ours compute the same on the same resamples."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "evaluate.py"
TASKS = ("multilabel", "multiclass")


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("evaluate_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", TASKS)
def test_loop_and_ours_agree_and_the_record_is_whole(bench, task, tmp_path):
    options = SimpleNamespace(scans=3000, classes=4, resamples=30, loop=4)
    row = bench.compare(task, options, tmp_path)
    assert row["largest_difference"] < 1e-12
    assert json.loads((tmp_path / "metrics.json").read_text())["n_patients"] == row["patients"]
    assert set(json.loads((tmp_path / "metrics.json").read_text())["groups"]["site"]) == {"north", "south", "west"}
    assert row["loop_s"] == pytest.approx(30 * row["loop_s_per_resample"], rel=0.3, abs=0.1)


@pytest.mark.parametrize("task", TASKS)
def test_cohort_is_as_told(bench, task):
    table = bench.cohort(task, 3000, 5)
    scans = np.bincount(table.patient_index)
    assert scans.min() == 1
    assert scans.max() == 8
    assert set(bench.thresholds_of(table)) == set(table.classes)
    if task == "multilabel":
        assert table.truth[:, 1].mean() == pytest.approx(0.02, abs=0.001)
        assert (table.truth[:, 0] == ~table.truth[:, 1:].any(axis=1)).all()
