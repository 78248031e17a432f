import numpy as np
import pytest

from pipeline.evaluate.estimates import Quantity, Statistic, estimate
from pipeline.evaluate.intervals import bca, resampled_weights
from pipeline.evaluate.jackknife import MOST, jackknife, parts_of
from pipeline.evaluate.one_versus_rest import one_versus_rest


def acceleration(values):
    d = values.mean() - values
    return (d**3).sum() / (6 * (d**2).sum() ** 1.5)


def weighted_mean(x):
    return lambda weights: (x @ weights / weights.sum(axis=0))[None]


def without(x, parts, compute=weighted_mean):
    return jackknife(compute(x), parts, patients=x.size, needed=np.array([True]), size=64)[0]


def test_up_to_the_limit_each_patient_is_left_out_alone():
    assert [part.tolist() for part in parts_of(np.array([4, 2, 7]), seed=0)] == [[4], [2], [7]]
    x = np.random.default_rng(0).exponential(size=MOST)
    assert without(x, parts_of(np.arange(MOST), 0)) == pytest.approx((x.sum() - x) / (MOST - 1))


def test_parts_hold_every_patient_once_are_of_one_size_and_of_the_seed():
    parts = parts_of(np.arange(1000, 2001), seed=3)
    assert sorted(np.concatenate(parts)) == list(range(1000, 2001))
    assert len(parts) == MOST
    assert {part.size for part in parts} == {2, 3}
    assert (np.concatenate(parts) == np.concatenate(parts_of(np.arange(1000, 2001), 3))).all()
    assert (np.concatenate(parts) != np.concatenate(parts_of(np.arange(1000, 2001), 4))).any()


@pytest.mark.parametrize("patients", [900, 6000])
def test_acceleration_by_parts_agrees_with_the_exact_one_within_its_noise(patients):
    """Exact for a mean: skewness / (6 sqrt(P)). Chance adds about 0.41 / 400, a little more where the tail is heavy."""
    x = np.random.default_rng(1).exponential(size=patients)
    exact = acceleration(without(x, list(np.arange(patients)[:, None])))
    by_parts = [acceleration(without(x, parts_of(np.arange(patients), seed))) for seed in range(20)]
    assert exact == pytest.approx(((x - x.mean()) ** 3).mean() / x.std() ** 3 / 6 / patients**0.5, rel=1e-6)
    assert np.std(by_parts) < 0.0025
    assert np.mean(by_parts) == pytest.approx(exact, abs=4 * 0.0025 / 20**0.5)


def test_interval_by_parts_is_the_exact_one_but_for_a_fiftieth_of_its_width():
    rng = np.random.default_rng(2)
    patient = rng.integers(0, 1500, 4000)
    patient = np.unique(patient, return_inverse=True)[1]
    people = int(patient.max()) + 1
    positive = rng.random(4000) < 0.03
    statistic = one_versus_rest(
        ("c",),
        rng.normal(size=4000) + 2 * positive,
        positive=positive,
        patient=patient,
        patients=people,
        threshold=1.0,
    )
    (found,) = estimate([statistic], patients=people, rows=4000, resamples=1000, seed=0)
    replicates = np.hstack([statistic.compute(w) for w in resampled_weights(people, 1000, 0, 64)])
    needed = np.ones(len(statistic.quantities), bool)
    one_by_one = list(np.arange(people)[:, None])
    exact = jackknife(statistic.compute, one_by_one, patients=people, needed=needed, size=64)
    for number, (quantity, r, j) in enumerate(zip(statistic.quantities, replicates, exact, strict=True)):
        record = found[quantity.name]
        limits = bca(statistic.compute(np.ones((people, 1)))[number, 0], r, j)
        width = limits.high - limits.low
        assert (record["low"], record["high"]) == pytest.approx((limits.low, limits.high), abs=0.02 * width + 1e-6)


def share_of_first(weights):
    """Undefined where the first two patients are both gone."""
    known = weights[:2].sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (weights[0] / np.where(known, known, np.nan))[None]


def test_a_part_that_leaves_nothing_is_taken_apart():
    together = [np.array([0, 1]), *np.arange(2, 10)[:, None]]
    found = jackknife(share_of_first, together, patients=10, needed=np.array([True]), size=4)
    assert found.tolist() == [[0.5] * 8 + [0, 1]]


def test_what_rests_on_one_of_many_patients_has_no_interval():
    x = np.full(1000, np.nan)

    def compute(weights):
        return np.where(weights[0] > 0, 0.25 + weights[1] / 8, np.nan)[None]

    statistic = Statistic((Quantity(("q",)),), np.arange(x.size), compute)
    (found,) = estimate([statistic], patients=1000, rows=1000, resamples=100, seed=0)
    assert found["q",]["low"] is None
    assert found["q",]["reason"] == "no interval: it rests on a single patient"
