"""The simulation of benchmarks/intervals.py, in small: what it counts is what it should, and intervals cover."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "intervals.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("intervals_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("design", ["one", "same", "mixed"])
def test_the_simulated_auroc_is_the_one_asked_for(bench, design):
    scores, positive, patient = bench.cohort(np.random.default_rng(0), design, 10_000, 0.9)
    for score in scores:
        assert roc_auc_score(positive, score) == pytest.approx(0.9, abs=0.015)
    assert np.unique(patient).size == 10_000
    assert positive.mean() == pytest.approx(0.4, abs=0.02)


def test_intervals_cover_and_false_positives_stay_near_five_percent(bench):
    found = bench.intervals("same", 60, 0.9, cohorts=200, resamples=200)
    least, most = binom.ppf([1e-4, 1 - 1e-4], 200, [0.93, 0.965])
    for form in ("bca", "logit", "logit_t"):
        assert least <= found[form]["within"] <= most, form
        assert sum(found[form].get(place, 0) for place in ("within", "below", "above", "none")) == 200
    tests = bench.false_positives("same", 60, 0.9, tests=800)
    least, most = binom.ppf([1e-4, 1 - 1e-4], 800, [0.04, 0.06])
    assert least <= tests["clustered"] <= most
    assert tests["each scan alone"] > most  # ignoring who the patients are finds what is not there


def test_cells_are_kept_and_told(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "cells", lambda: [("one", 60, 0.9)])
    run = ["intervals.py", str(tmp_path), "--cohorts", "4", "--resamples", "50", "--tests", "5"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", run)
        bench.main()
    assert len((tmp_path / "intervals.jsonl").read_text().splitlines()) == 1
    assert capsys.readouterr().out.count("| one | 60 | 0.9 |") == 2
