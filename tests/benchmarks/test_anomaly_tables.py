"""The figures and tables of benchmarks/anomaly.py."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "anomaly_tables.py"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("anomaly_tables", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_subtype_is_measured_against_all_normals(tables):
    site = SimpleNamespace(
        labels=np.array(["normal", "normal", "ill", "ill", "left out"]),
        subtypes=np.array(["", "", "a", "b", ""]),
        patients=np.array(["1", "2", "3", "4", "5"]),
    )
    found = tables.measured([0.1, 0.5, 0.9, 0.3], site, np.arange(4))["auroc"]
    assert [found[name][0] for name in ("all", "a", "b")] == [0.75, 1.0, 0.5]


def test_a_rate_has_its_interval_the_right_way_round(tables):
    called = np.arange(100) % 10 == 0
    value, low, high = tables.rate_of(called, np.arange(100).astype(str))
    assert value == pytest.approx(0.1)
    assert 0.03 < low < 0.1 < high < 0.2


def test_tables_print_what_is_there(tables, capsys):
    row = {"auroc": {"all": [0.9, 0.8, 0.95], "bacteria": [0.91, None, None]}}
    clean = row | {"scans": 10, "fit_s": 1.0, "score_s": 2.0}
    side = row | {"fit_s": 3.0, "score_s": 4.0, "start_mib": 5, "peak_mib": 6}
    alarms = {"value": 1.0, "low": 0.97, "high": 1.0, "promise": "broken"}
    failed = {"exit": 1, "error": "refused: every scan looks abnormal", "result": None}
    tables.print_tables(
        {
            "detector|knn|net|0": clean,
            "detector|knn|net|1": clean | {"auroc": {"all": [0.8, 0.7, 0.9]}},
            "plain|net": {"knn": row},
            "peers|patchcore|0.001": {"bank": 7, "scans": 10, "anomalib": side, "ours": side},
            "alarms|knn|net": {"rates": [0.04, 0.06], "by_patient": [0.05, 0.05], "official": [[0.07, 0.02, 0.1]] * 2},
            "mislabelled|knn|net|0": {"auroc": {"all": [0.85, 0.7, 0.9]}, "mislabelled": 2, "caught": 1},
            "command|across|auto": {"adapt": None, "validate": failed, "metrics": {"false_alarms": alarms}},
            "command|nih|auto": {"adapt": failed},
        }
    )
    told = capsys.readouterr().out
    assert "| knn | net | 0.900 (0.800–0.950) | 0.910 | – | 0.850 ± 0.050 (2) | 1.0 | 2.0 |" in told
    assert "| scikit-learn knn | net | 0.900 (0.800–0.950) | 0.910 | – | 1 | – | – |" in told
    assert "| patchcore, 10 scans | 7 (0.10%) | ours | 0.900 (0.800–0.950) | 3.0 | 4.0 | 6 | 5 |" in told
    assert "of fresh normals 5.00% of scans" in told
    assert "| knn | net | 1 | 0.900 | 0.850 | -0.050 | 50% |" in told
    assert "| nih | auto | 1 | – | – | – | – | refused: every scan looks abnormal |" in told
    assert "| across | auto | 0 | 1 | – | 1.000 (0.970–1.000) | broken | refused: every scan looks abnormal |" in told
