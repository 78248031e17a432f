import numpy as np
import pytest
from scipy.stats import fisher_exact

from pipeline.diary.header_tests import field_p, header_p_values
from pipeline.shift.domain import OTHER, Domain


def side(n, **headers):
    return Domain(np.zeros((n, 2), np.float32), None, None, tuple(f"p{i}" for i in range(n)), headers)


def test_two_words_are_one_exact_test():
    first, second = ["GE"] * 9 + ["Siemens"], ["GE"] * 2 + ["Siemens"] * 8
    assert field_p(first, second) == pytest.approx(fisher_exact([[9, 1], [2, 8]]).pvalue)
    assert fisher_exact([[9, 1], [2, 8]]).pvalue == pytest.approx(0.0054775, abs=1e-6)


def test_a_new_scanner_gives_a_p_that_no_number_of_permutations_would_reach():
    assert field_p(["GE"] * 100, ["Siemens"] * 100) < 1e-50


def test_a_field_that_vanishes_is_drift():
    assert field_p([80.0] * 50, [None] * 50) < 1e-20
    assert field_p([80.0] * 50, [80.0] * 50) == 1.0
    assert field_p([None] * 50, [None] * 50) == 1.0


def test_words_too_rare_for_the_reference_to_keep_are_no_drift():
    """The reference holds `(other)` for words of few patients; the incoming side spells them out."""
    first = ["A"] * 80 + [OTHER] * 20
    second = ["A"] * 80 + [f"rare {n}" for n in range(20)]
    assert field_p(first, second) == 1.0
    assert field_p(first, ["new"] * 100) < 1e-20


def test_fields_are_corrected_for_their_number_and_few_patients_are_not_tested():
    rng = np.random.default_rng(1)
    headers = {f"f{n}": tuple(rng.normal(size=60)) for n in range(4)}
    moved = {**headers, "f0": tuple(v + 3 for v in headers["f0"])}
    found = header_p_values(side(60, **headers), side(60, **moved), seed=0)
    assert found["f0"] < 1e-10
    assert {found[name] for name in ("f1", "f2", "f3")} == {1.0}
    assert header_p_values(side(4, f=(1.0,) * 4), side(60, f=(1.0,) * 60), seed=0) == {}


def test_null_headers_rarely_reject():
    """Two words, rare words and numbers with gaps, 300 times: at most 5 % below 0.05, allowing for noise."""
    rng = np.random.default_rng(2)

    def draw():
        word = rng.choice(["a", "b", "c"], 60, p=[0.6, 0.3, 0.1])
        number = np.round(rng.normal(100, 10, 60))
        return side(60, word=tuple(map(str, word)), kvp=tuple(None if rng.random() < 0.2 else v for v in number))

    rejected = [min(header_p_values(draw(), draw(), seed=0).values()) < 0.05 for _ in range(300)]
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
