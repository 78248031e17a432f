import math

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.diary.spending import ALPHA, LOOKS, alpha_of, together


def test_a_year_shares_its_part_evenly_and_later_years_have_less():
    assert alpha_of(1) == alpha_of(LOOKS) == pytest.approx(0.05 * 6 / math.pi**2 / 365)
    assert alpha_of(LOOKS + 1) == pytest.approx(alpha_of(1) / 4)


def test_all_looks_together_spend_alpha_and_no_more():
    spent = LOOKS * sum(alpha_of(1 + LOOKS * year) for year in range(4000))
    assert 0.0499 < spent < ALPHA


@pytest.mark.parametrize("look", [0, -1])
def test_looks_are_counted_from_one(look):
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_of(look)


def test_the_tests_of_a_night_are_corrected_for_their_number():
    assert together({"outputs": 0.02, "features": 0.5, "headers": 0.3}) == pytest.approx(0.06)
    assert together({"features": 0.9, "outputs": 0.8}) == 1.0


def false_alarms(p):
    """Share of years with an alarm, of p (years, nights)."""
    alpha = np.array([alpha_of(look) for look in range(1, p.shape[1] + 1)])
    return (p <= alpha).any(axis=1).mean()


def test_years_of_null_nights_rarely_raise_an_alarm():
    """Uniform p-values, independent, or the same all year: the two ends of how nights can depend on each other."""
    rng = np.random.default_rng(7)
    independent = rng.random((20_000, LOOKS))
    assert 0.02 < false_alarms(independent) <= ALPHA
    assert false_alarms(np.repeat(rng.random((20_000, 1)), LOOKS, axis=1)) <= ALPHA


def test_years_against_one_shared_reference_rarely_raise_an_alarm():
    """Every night's 100 scans are compared with the same 100 reference scans, so that all p lean one way together.

    A product of a bet on each night, 0.5 / sqrt(p), which would be valid for independent nights, fails here.
    """
    rng = np.random.default_rng(8)
    reference = rng.normal(0, 1 / np.sqrt(100), (4000, 1))
    nights = rng.normal(0, 1 / np.sqrt(100), (4000, LOOKS))
    p = 2 * norm.sf(np.abs(nights - reference) / np.sqrt(2 / 100))
    assert 0 < false_alarms(p) <= ALPHA
    wealth = np.cumsum(np.log(0.5 / np.sqrt(p)), axis=1).max(axis=1)
    assert (wealth >= np.log(1 / ALPHA)).mean() > 2 * ALPHA


def test_a_shift_is_found_late_in_the_year_as_well():
    rng = np.random.default_rng(9)
    z = rng.normal(size=(2000, LOOKS))
    z[:, 300:] += 4.5
    p = 2 * norm.sf(np.abs(z))
    alpha = alpha_of(1)
    assert (p[:, 300:310] <= alpha).any(axis=1).mean() > 0.99
