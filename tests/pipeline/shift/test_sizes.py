import numpy as np
import pytest
from scipy.linalg import sqrtm

from pipeline.shift.frechet import frechet_distance
from pipeline.shift.kernel import PatientKernel
from pipeline.shift.sizes import measure_sizes, same_site_nulls, split_patients
from pipeline.shift.two_sample import joint_kernel


def test_frechet_distance_worked_by_hand():
    # Means 0 and 3; variances 2 (of -1, 1) and 8 (of 1, 5): 9 + 2 + 8 - 2 sqrt(16) = 11.
    assert frechet_distance(np.array([[-1.0], [1.0]]), np.array([[1.0], [5.0]])) == pytest.approx(11)


def test_frechet_distance_agrees_with_the_matrix_root():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(60, 4)), rng.normal(size=(40, 4)) @ rng.normal(size=(4, 4)) + 1
    s1, s2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    gap = first.mean(0) - second.mean(0)
    expected = gap @ gap + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2)))
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_frechet_distance_of_fewer_scans_than_directions_is_finite():
    rng = np.random.default_rng(0)
    assert np.isfinite(frechet_distance(rng.normal(size=(10, 32)), rng.normal(size=(12, 32))))
    same = rng.normal(size=(10, 32))
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-6)


def test_parts_hold_whole_patients_and_about_the_wanted_size(side):
    whole = side(200)
    first, second = split_patients(whole.units, 60, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(200))
    assert not set(whole.units[first]) & set(whole.units[second])
    assert 60 <= second.size <= 65


def test_sizes_of_alike_sides_lie_in_their_nulls_and_of_a_shift_beyond(side):
    one = side(200, name="a")
    for move, beyond in ((0.0, False), (3.0, True)):
        other = side(100, seed=1, name="b", move=move)
        found = measure_sizes(one, other, joint_kernel(one, other), seed=0, draws=10)
        for name in ("mmd2", "frechet", "c2st_auc", "proxy_a_distance"):
            size = getattr(found, name)
            width = size.null.high - size.null.low
            assert (size.value > size.null.high + width) == beyond, name
        assert found.mmd2.low <= found.mmd2.value <= found.mmd2.high
        assert found.frechet.low is None
        assert "null" in found.frechet.reason


def test_the_null_is_drawn_at_the_size_of_the_incoming_side(side):
    reference = side(300)
    few, many = (same_site_nulls(reference, size, seed=0, draws=5) for size in (30, 150))
    assert few[1].mean > 1.5 * many[1].mean  # Frechet distance grows as parts shrink


def test_the_null_of_kernels_is_the_kernel_of_the_parts(side, monkeypatch):
    seen = []
    value = PatientKernel.value.fget
    monkeypatch.setattr(PatientKernel, "value", property(lambda self: seen.append(value(self)) or seen[-1]))
    null = same_site_nulls(side(100), 50, seed=0, draws=4)[0]
    assert null.mean == pytest.approx(np.mean(seen), abs=1e-6)
    assert null.draws == 4


def test_a_small_reference_has_no_null_but_a_reason(side):
    null = same_site_nulls(side(30), 30, seed=0)[0]
    assert null.mean is None
    assert "too few to part in two" in null.reason
