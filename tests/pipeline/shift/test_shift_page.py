import re

import numpy as np
import pytest
from scipy.stats import ks_2samp

from pipeline.shift.domain import Domain
from pipeline.shift.page import field_side
from pipeline.shift.plots import MARGIN, MOST_DOTS, SIDE, distributions, scale, scatter
from pipeline.shift.wording import FOUND, NEXT, p_words, shift_verdict


def domain(n, *, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 2)).astype(np.float32) + np.array([0, shift], np.float32)
    return Domain(rng.normal(size=(n, 5)).astype(np.float32) + shift, logits, None, tuple(map(str, range(n))))


def measured(kind, *, p=0.01, auc=0.9):
    size = {"value": auc, "low": auc - 0.1, "high": auc + 0.05}
    return {
        "test": None if p is None else {"p_value": p},
        "test_reason": "30 incoming scans",
        "kind": {"kind": kind, "reason": ""},
        "sizes": {"c2st_auc": size},
        "headers": [{"field": f"F{n}", "rejected": True} for n in range(7)],
        "accuracy": None,
        "accuracy_reason": "no labels",
        "remarks": ["a remark"],
    }


@pytest.mark.parametrize(("kind", "colour"), [("none", "shown"), ("prevalence", "unclear"), ("covariate", "against"),
                                              ("both", "against"), (None, "against")])  # fmt: skip
def test_the_verdict_says_what_how_sure_and_what_next(kind, colour):
    verdict = shift_verdict(measured(kind))
    assert verdict.kind == colour
    assert verdict.headline.startswith(FOUND[kind])
    assert verdict.headline.endswith(NEXT[kind])
    assert "p = 0.010" in verdict.headline
    assert "AUROC 0.90 (95 % interval 0.80 to 0.95)" in verdict.headline
    assert verdict.details == (
        "Accuracy to expect: not estimated; no labels.",
        "Header fields that differ: F0, F1, F2, F3, F4 and 2 more.",
        "a remark",
    )


def test_without_a_test_the_verdict_is_that_it_cannot_be_told():
    verdict = shift_verdict(measured(None, p=None))
    assert verdict.kind == "unclear"
    assert verdict.headline == "Whether there is a shift cannot be told: 30 incoming scans. Bring more scans."


def test_small_p_values_are_told_as_such():
    assert (p_words(0.0), p_words(0.0009), p_words(0.5)) == ("< 0.001", "< 0.001", "0.500")


def test_dots_are_as_many_as_scans_up_to_a_limit():
    drawing = scatter(domain(30), domain(500, seed=1), seed=0).svg
    assert (drawing.count("<circle"), drawing.count("<rect")) == (30, MOST_DOTS)


def test_dots_stay_inside_the_frame():
    drawing = str(scatter(domain(200), domain(200, shift=9.0, seed=1), seed=0).svg)
    places = [float(x) for x in re.findall(r'c[xy]="([\d.]+)"', drawing)]
    assert min(places) >= MARGIN - 0.1
    assert max(places) <= SIDE - MARGIN + 0.1


def test_lines_are_as_far_apart_as_the_test_says():
    reference, incoming = domain(400), domain(300, shift=1.0, seed=1)
    (plot,) = distributions(reference, incoming, ("a", "b"), "multiclass")
    lines = [[float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
             for path in re.findall(r'<path class="line \w+" d="M([^"]*)"', str(plot.svg))]  # fmt: skip
    gap = np.abs(np.subtract(*lines)).max() / (SIDE - 2 * MARGIN)
    p = [np.exp(side.logits)[:, 1] / np.exp(side.logits).sum(axis=1) for side in (reference, incoming)]
    assert gap == pytest.approx(ks_2samp(*p).statistic, abs=0.03)


def test_a_scale_shows_band_interval_and_value():
    null = {"mean": 0.5, "low": 0.4, "high": 0.6}
    drawing = scale({"value": 0.8, "low": 0.7, "high": 0.9, "null": null}, 0.4, 1.0)
    assert drawing.count("null") == drawing.count("interval") == drawing.count('class="value"') == 1
    x = float(re.search(r'cx="([\d.]+)"', drawing).group(1))
    assert x == pytest.approx(4 + (0.8 - 0.4) / 0.6 * 312, abs=0.1)


def test_a_field_is_told_in_a_line():
    words = {"patients": 10, "missing": 0, "quartiles": None, "shares": {"CR": 0.2, "DX": 0.8}}
    assert field_side(words) == "DX 80%, CR 20%"
    numbers = {"patients": 10, "missing": 5, "quartiles": [1.0, 2.0, 3.5], "shares": None}
    assert field_side(numbers) == "2 (1 to 3.5); missing 50%"
    assert field_side({"patients": 4, "missing": 4, "quartiles": None, "shares": None}) == "missing"
