import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from pipeline.shift.contingency import chi_squared_p
from pipeline.shift.domain import Domain
from pipeline.shift.header_fields import header_drift


def side(patients=None, **headers):
    n = len(next(iter(headers.values())))
    values = {name: tuple(column) for name, column in headers.items()}
    return Domain(np.zeros((n, 1), np.float32), None, None, tuple(patients or [""] * n), values)


def one(first, second, **options):
    (found,) = header_drift(side(Field=first), side(Field=second), seed=0, **({"permutations": 500} | options))
    return found


def test_numbers_agree_with_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=60).tolist(), rng.normal(0.5, 1, 50).tolist()
    found = one(first, second)
    assert found.kind == "number"
    assert found.p_value == pytest.approx(ks_2samp(first, second, method="asymp").pvalue)
    assert found.reference.quartiles == pytest.approx(np.quantile(first, [0.25, 0.5, 0.75]), abs=1e-5)


def test_permuted_chi_squared_agrees_with_the_distribution_in_large_groups():
    rng = np.random.default_rng(1)
    first, second = rng.choice(list("abc"), 300, p=[0.4, 0.3, 0.3]), rng.choice(list("abc"), 200, p=[0.34, 0.3, 0.36])
    table = [[(group == word).sum() for word in "abc"] for group in (first, second)]
    found = chi_squared_p([*first, *second], 300, seed=0, permutations=4000)
    assert found == pytest.approx(chi2_contingency(table, correction=False).pvalue, abs=0.03)


def test_an_empty_cell_gives_the_same_p_every_time():
    found = {one(["A"] * 30, ["A"] * 20 + ["B"] * 10).p_value for _ in range(3)}
    assert len(found) == 1
    assert found.pop() < 0.01


def test_words_alike_keep_the_level():
    rng = np.random.default_rng(2)
    alarms = sum(
        chi_squared_p(rng.choice(list("abcde"), 40), 15, seed=seed, permutations=99) <= 0.05 for seed in range(200)
    )
    assert 2 <= alarms <= 18


def test_repeated_scans_of_a_patient_count_once():
    rng = np.random.default_rng(3)
    alarms = 0
    for seed in range(100):
        age = rng.normal(50, 15, 40)
        units = np.repeat(np.arange(40), 8)
        halves = []
        for part in (units < 20, units >= 20):
            names = [f"p{unit}" for unit in units[part]]
            halves.append(side(patients=names, Age=age[units][part]))
        (found,) = header_drift(*halves, seed=seed)
        assert found.reference.patients == 20
        alarms += found.rejected
    assert alarms <= 10


def test_rare_words_are_not_shown():
    found = one(["GE"] * 30 + ["Prototype of Dr X"], ["GE"] * 25 + ["Rare"] * 3)
    for part in (found.reference, found.incoming):
        assert set(part.shares) == {"GE", "(other)"}
    assert found.incoming.shares["(other)"] == pytest.approx(3 / 28, abs=1e-6)


def test_a_few_patients_are_not_described():
    found = one([50.0, 60.0, 70.0, 80.0], [50.0] * 30)
    assert found.reference.quartiles is None
    assert found.p_value is None
    assert "fewer than 5 patients" in found.reason
    assert one(["A"] * 3, ["A"] * 30).reference.shares is None


def test_missing_values_are_counted_and_tested():
    numbers = np.random.default_rng(4).normal(size=100).tolist()
    found = one(numbers[:50], numbers[50:70] + [None] * 30)
    assert found.incoming.missing == 30
    assert found.p_value < 0.01
    words = one(["A"] * 50, ["A"] * 25 + [None] * 20 + ["  "] * 5)
    assert words.incoming.missing == 25
    assert words.incoming.shares["(missing)"] == 0.5
    assert words.rejected


def test_a_number_missing_on_one_side_is_drift():
    found = one([1.0] * 40, [None] * 40)
    assert found.rejected
    assert found.incoming.quartiles is None


def test_a_field_without_any_value_is_not_tested():
    found = one([None] * 20, [None, float("nan")] * 10)
    assert found.p_value is None
    assert found.reason == "no scan of either side has a value"
    assert not found.rejected


def test_numbers_mixed_with_words_are_words():
    assert one([1.0, "N/A"] * 20, [1.0] * 40).kind == "category"


def test_only_fields_of_both_sides_are_compared_by_name():
    found = header_drift(side(B=[1.0] * 9, A=["x"] * 9, C=[1.0] * 9), side(A=["x"] * 9, B=[1.0] * 9), seed=0)
    assert [field.field for field in found] == ["A", "B"]
    assert [field.p_value for field in found] == [1.0, 1.0]


def test_without_a_test_fields_are_described_all_the_same():
    found = one([1.0] * 30, [9.0] * 30, untested="too few scans")
    assert found.p_value is None
    assert found.reason == "too few scans"
    assert found.incoming.quartiles == (9.0, 9.0, 9.0)
