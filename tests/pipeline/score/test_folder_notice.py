"""When the scores of a folder speak against themselves."""

import numpy as np
import pytest

from pipeline.decide.conformal import conformal_scale
from pipeline.decide.pool import LEAST_POOL
from pipeline.score.folder_notice import folder_notice
from pipeline.score.outcome import Outcome


def scored(raw, calibration=99):
    scale = conformal_scale(np.random.default_rng(0).normal(size=calibration), range(calibration))
    return [Outcome("scored", anomaly_score=float(score)) for score in scale.score01(raw)]


def test_a_folder_of_normals_and_disease_gets_none():
    rng = np.random.default_rng(1)
    assert folder_notice(scored(np.concatenate([rng.normal(size=60), rng.normal(5, 1, 60)]))) == ""


def test_a_folder_where_nothing_looks_normal_gets_one():
    outcomes = scored(np.random.default_rng(1).normal(6, 1, LEAST_POOL))
    told = folder_notice([*outcomes, Outcome("failed", "UNREADABLE")])
    assert told.startswith("only 0% of the 35 scans (95 % interval 0% to 20%) could be normal")


def test_of_few_scans_nothing_is_said():
    assert folder_notice(scored(np.full(LEAST_POOL - 1, 6.0))) == ""
    assert folder_notice([]) == ""


@pytest.mark.parametrize("seed", range(50))
def test_small_folders_of_normals_alone_get_none(seed):
    assert folder_notice(scored(np.random.default_rng(100 + seed).normal(size=LEAST_POOL), calibration=19)) == ""
