from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.errors import CohortError
from pipeline.learn.folds import grouped_folds


def made_up(n=60, classes=2, per_patient=2, seed=0):
    rng = np.random.default_rng(seed)
    patients = [f"patient {k // per_patient}" for k in range(n)]
    label_of = {name: int(rng.integers(classes)) for name in sorted(set(patients))}
    return torch.eye(classes)[[label_of[name] for name in patients]], patients


def test_no_patient_is_on_two_sides_and_every_row_is_tested_once_a_repeat():
    targets, patients = made_up(per_patient=3)
    found = grouped_folds(targets, patients, repeats=3, seed=1)
    assert len(found) == 15
    for fold in found:
        assert not {patients[n] for n in fold.train} & {patients[n] for n in fold.test}
        assert sorted([*fold.train, *fold.test]) == list(range(60))
    for repeat in range(3):
        assert Counter(n for fold in found[5 * repeat : 5 * repeat + 5] for n in fold.test) == Counter(range(60))


def test_patients_of_every_size_are_kept_whole():
    patients = ["a"] * 11 + ["b"] * 5 + [f"c{n}" for n in range(14)]
    targets = torch.eye(2)[[n % 2 for n in range(30)]]
    for fold in grouped_folds(targets, patients, folds=4):
        assert not {patients[n] for n in fold.train} & {patients[n] for n in fold.test}


def test_labels_are_spread_over_the_folds():
    labels = [1] * 10 + [0] * 40
    for fold in grouped_folds(torch.eye(2)[labels], [str(n) for n in range(50)], repeats=2):
        assert len(fold.test) == 10
        assert sum(labels[n] for n in fold.test) == 2


def test_the_rarest_of_several_labels_is_spread():
    targets = torch.zeros(40, 3)
    targets[:, 0] = 1
    targets[:5, 2] = 1
    targets[20:, 1] = 1
    for fold in grouped_folds(targets, [str(n) for n in range(40)]):
        assert targets[fold.test, 2].sum() == 1


def test_one_seed_gives_one_division_and_another_seed_another():
    targets, patients = made_up()

    def sides(seed):
        return [fold.test.tolist() for fold in grouped_folds(targets, patients, seed=seed)]

    assert sides(3) == sides(3)
    assert sides(3) != sides(4)


def test_repeats_differ():
    targets, patients = made_up()
    found = grouped_folds(targets, patients, repeats=2)
    assert [fold.test.tolist() for fold in found[:5]] != [fold.test.tolist() for fold in found[5:]]


def test_the_order_of_rows_does_not_matter():
    targets, patients = made_up(per_patient=1)
    order = np.random.default_rng(0).permutation(60)
    plain = grouped_folds(targets, patients, seed=2)
    shuffled = grouped_folds(targets[order], [patients[n] for n in order], seed=2)
    for one, other in zip(plain, shuffled, strict=True):
        assert {patients[n] for n in one.test} == {patients[order[n]] for n in other.test}


def test_few_patients_make_fewer_folds():
    assert len(grouped_folds(torch.eye(2)[[0, 0, 1, 1]], list("abcd"))) == 4


@pytest.mark.parametrize(
    ("labels", "patients"), [([0, 0, 0, 1], "abcd"), ([0, 0, 1, 1], "abcc"), ([0, 0, 0, 0], "abcd")]
)
def test_a_class_of_one_patient_is_not_enough(labels, patients):
    with pytest.raises(CohortError, match="two labels with at least two patients each"):
        grouped_folds(torch.eye(2)[labels], list(patients))


def test_patients_that_do_not_fit_the_rows_are_an_error():
    with pytest.raises(CohortError, match="3 patients for 4 rows"):
        grouped_folds(torch.eye(2)[[0, 0, 1, 1]], list("abc"))


def test_patients_who_all_have_both_labels_can_be_divided():
    """Two eyes of which one is ill, before and after: nobody has one label alone."""
    targets, patients = torch.eye(2)[[0, 1] * 10], [str(n // 2) for n in range(20)]
    for fold in grouped_folds(targets, patients):
        assert len(fold.test) == 4
        assert targets[fold.train].any(dim=0).all()
