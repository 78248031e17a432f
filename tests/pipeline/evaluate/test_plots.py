import re

import pytest

from pipeline.evaluate.measure import measure
from pipeline.evaluate.plots import EpochRow, class_curves, learning_curves, reliability, series_style


def test_plots_carry_no_metadata_size_or_fixed_ink(table):
    t = table()
    metrics = measure(t, dict.fromkeys(t.classes, 0.4), 0.5, resamples=20)
    history = [EpochRow("head", 1, 1.0, 1.1, None), EpochRow("head", 2, 0.9, 1.0, 0.6)]
    plots = [*class_curves(t, metrics), reliability(metrics["calibration"]["curve"]), *learning_curves(history)]
    assert len(plots) == 5
    for plot in plots:
        head = plot.svg[: plot.svg.index(">")]
        assert "currentColor" in plot.svg
        assert "metadata" not in plot.svg
        assert "width" not in head
        assert plot.caption in plot.svg.unescape()


@pytest.mark.parametrize("count", [24])
def test_series_differ_in_colour_or_dash(count):
    assert len({series_style(place) for place in range(count)}) == count


def test_curves_of_many_scans_stay_small(table):
    t = table(20_000, patients=6000, groups={})
    shown = {metric: {"value": 0.8} for metric in ("auroc", "sensitivity", "specificity", "ppv")}
    metrics = {"classes": dict.fromkeys(t.classes, shown)}
    roc, recall = class_curves(t, metrics)
    assert len(roc.svg) + len(recall.svg) < 100_000
    paths = " ".join(re.findall(r' d="([^"]*)"', roc.svg))
    assert max(map(len, re.findall(r"\.(\d+)", paths))) == 2
