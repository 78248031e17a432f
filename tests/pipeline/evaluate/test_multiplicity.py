import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from pipeline.evaluate.multiplicity import holm


def test_holm_worked_by_hand():
    """0.01 * 3 = 0.03, 0.02 * 2 = 0.04, 0.04 * 1 = 0.04."""
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 14):
        p = np.round(rng.uniform(0, 0.2, size), 2)  # with ties
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
