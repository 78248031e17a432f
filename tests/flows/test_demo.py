import csv
from pathlib import Path

import pytest

from flows import demo
from models.errors import WeightsNotFoundError
from models.weights import WeightsFile


@pytest.mark.slow
def test_the_demo_prints_report_and_scores_last(terminal, samples, tmp_path):
    told = terminal.run("demo", "--samples", samples, "-o", tmp_path / "out", timeout=500)
    assert told.code == 0, told.error
    report, scores = told.out.splitlines()[-2:]
    assert report == f"report: {tmp_path / 'out' / 'validation' / 'report.html'}"
    assert scores == f"scores: {tmp_path / 'out' / 'scores' / 'scores.csv'}"
    assert "RANDOM weights" in told.error
    assert "not a medical device" in Path(report.removeprefix("report: ")).read_text()
    with Path(scores.removeprefix("scores: ")).open(newline="") as file:
        assert sum(row["status"] == "scored" for row in csv.DictReader(file)) == 24


def test_the_demo_takes_the_first_weights_that_are_here(monkeypatch, tmp_path):
    here = {"densenet121": "densenet121-a639ec97.pth", "mobilenet_v2": "mobilenet_v2_to_features_18.pth"}

    def find(name, _weights, *, folder, download):
        assert not download
        if name not in here:
            raise WeightsNotFoundError(name)
        return WeightsFile(tmp_path / here[name], "", "")

    monkeypatch.setattr(demo, "find_weights", find)
    assert demo._choose() == ("densenet121", "imagenet")
    here.clear()
    assert demo._choose() == ("squeezenet1_0", "none")
