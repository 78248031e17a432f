from collections import Counter

import numpy as np
import pytest

from pipeline.shift.domain import Domain
from pipeline.shift.kind import identify_kind, match_prevalence
from pipeline.shift.label_shift import fit_bcts, mlls
from pipeline.shift.two_sample import shift_test


def found_kind(reference, incoming, seed):
    before = shift_test(reference, incoming, seed=seed, permutations=100)
    calibration = fit_bcts(reference.logits, reference.truth)
    shares = mlls(calibration.probability(incoming.logits), reference.truth.mean(axis=0)).share
    return identify_kind(reference, incoming, before=before, shares=shares, seed=seed, permutations=100)


@pytest.mark.parametrize(
    ("kind", "share", "move"),
    [("none", 0.5, 0.0), ("prevalence", 0.2, 0.0), ("covariate", 0.5, 1.0), ("both", 0.2, 1.0)],
)
def test_each_kind_is_told_from_the_others(side, kind, share, move):
    kinds = Counter(
        found_kind(side(400, seed=s, name="a"), side(250, seed=s + 99, name="b", share=share, move=move), s).kind
        for s in range(10)
    )
    assert kinds[kind] >= 8


def test_matching_takes_whole_patients_and_reaches_the_wanted_mix(side):
    reference = side(600)
    rows = match_prevalence(reference.truth, reference.units, [0.8, 0.2], seed=0)
    part = reference.take(rows)
    assert part.truth.mean(axis=0) == pytest.approx([0.8, 0.2], abs=0.02)
    chosen = np.unique(reference.units[rows])
    assert np.isin(reference.units, chosen).sum() == rows.size
    held = reference.truth.sum(axis=0)
    assert rows.size == pytest.approx(held[0] / 0.8, rel=0.05)  # as many as the rarer class allows


def test_matching_to_a_mix_of_one_class_takes_that_class_alone(side):
    reference = side(100)
    rows = match_prevalence(reference.truth, reference.units, [0.0, 1.0], seed=0)
    assert reference.truth[rows, 0].sum() == 0
    assert rows.size == reference.truth[:, 1].sum()


def test_without_logits_or_labels_the_kind_is_not_told(side):
    one, other = side(200, name="a"), side(200, seed=1, name="b", move=3.0)
    before = shift_test(one, other, seed=0, permutations=100)
    found = identify_kind(one, other, before=before, shares=None, seed=0)
    assert found.kind is None
    assert "needs logits" in found.reason
    bare = Domain(one.features, None, None, one.patients)
    alike = shift_test(bare, bare, seed=0, permutations=100)
    assert identify_kind(bare, bare, before=alike, shares=None, seed=0).kind == "none"


def test_a_class_too_rare_in_the_reference_leaves_the_kind_open(side):
    reference = side(200, share=0.04, most=1, name="a")
    incoming = side(200, share=0.95, seed=1, name="b")
    found = found_kind(reference, incoming, 0)
    assert found.kind is None
    assert "too rare in the reference" in found.reason
