"""The split rules of the labels.csv contract."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import LeakageError
from pipeline.prepare.split import Member, assign_splits

MEMBERS = st.lists(
    st.builds(
        Member,
        patient=st.integers(0, 12).map("p{}".format),
        stratum=st.sampled_from(["north|normal", "north|sick", "south|normal", "south|"]),
        stated=st.just(""),
    ),
    min_size=1,
    max_size=40,
)


def patients(count, stratum="north|normal", stated="", prefix="p"):
    return [Member(f"{prefix}{n}", stratum, stated) for n in range(count)]


def sides_of(members, splits):
    found = defaultdict(set)
    for member, split in zip(members, splits, strict=True):
        found[member.patient].add(split)
    return found


@settings(max_examples=150, deadline=None)
@given(MEMBERS, st.integers(0, 5), st.dictionaries(st.integers(0, 12), st.sampled_from(["train", "val", "test"])))
def test_no_patient_is_on_two_sides_and_what_is_stated_stands(members, seed, stated):
    members = [Member(m.patient, m.stratum, stated.get(int(m.patient[1:]), "")) for m in members]
    splits, _ = assign_splits(members, seed=seed)
    assert all(len(sides) == 1 for sides in sides_of(members, splits).values())
    if any(m.stated == "val" for m in members):
        assert all(not m.stated or m.stated == split for m, split in zip(members, splits, strict=True))
    else:  # then patients stated train may become val
        moved = {("train", "val"), ("train", "train"), ("test", "test")}
        assert all(not m.stated or (m.stated, s) in moved for m, s in zip(members, splits, strict=True))


@settings(max_examples=60, deadline=None)
@given(MEMBERS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(members, seed, random):
    plain = sides_of(members, assign_splits(members, seed=seed)[0])
    shuffled = random.sample(members, len(members))
    assert sides_of(shuffled, assign_splits(shuffled, seed=seed)[0]) == plain


def test_the_seed_decides():
    members = patients(40)
    assert assign_splits(members, seed=1) == assign_splits(members, seed=1)
    assert assign_splits(members, seed=1)[0] != assign_splits(members, seed=2)[0]


def test_empty_cells_are_divided_70_15_15_in_every_stratum():
    members = patients(100, "north|normal", prefix="n") + patients(40, "north|sick", prefix="s")
    splits, notes = assign_splits(members, seed=0)
    assert Counter(splits[:100]) == {"train": 70, "val": 15, "test": 15}
    assert Counter(splits[100:]) == {"train": 28, "val": 6, "test": 6}
    assert notes == ["140 patients without a split were divided 70/15/15 into train, val and test (seed 0)"]


def test_three_patients_are_enough_for_three_sides():
    assert sorted(assign_splits(patients(3), seed=0)[0]) == ["test", "train", "val"]


def test_without_val_15_percent_of_the_train_patients_become_val():
    members = patients(40, stated="train") + patients(10, stated="test", prefix="t")
    splits, notes = assign_splits(members, seed=3)
    assert Counter(splits) == {"train": 34, "val": 6, "test": 10}
    assert set(splits[40:]) == {"test"}
    assert notes == ["no row is val: 6 of 40 train patients became val (15 %, seed 3)"]


def test_val_is_drawn_in_proportion_from_every_class():
    members = patients(60, "a|n", "train", "n") + patients(20, "a|s", "train", "s") + patients(2, "a|x", "train", "x")
    splits, _ = assign_splits(members, seed=0)
    assert Counter(splits[:60])["val"] == 9
    assert Counter(splits[60:80])["val"] == 3
    assert Counter(splits[80:])["val"] == 1


def test_a_stated_val_row_is_enough_to_leave_train_alone():
    members = [*patients(20, stated="train"), Member("v", "north|normal", "val")]
    splits, notes = assign_splits(members, seed=0)
    assert splits == ["train"] * 20 + ["val"]
    assert notes == []


def test_test_rows_stay_test_rows():
    members = patients(5, stated="test") + patients(20, prefix="f")
    assert set(assign_splits(members, seed=0)[0][:5]) == {"test"}


def test_a_row_without_a_split_follows_its_patient():
    members = [Member("p", "a", "test"), Member("p", "b", ""), *patients(30, prefix="f")]
    assert assign_splits(members, seed=0)[0][:2] == ["test", "test"]


def test_many_small_strata_keep_the_proportions_over_all():
    """One stratum for each of 40 scanners, one or two patients each: rounding must not put all into train."""
    members = [Member(f"p{n}", f"scanner {n // 2}|normal", "") for n in range(80)]
    counts = Counter(assign_splits(members, seed=0)[0])
    assert counts["val"] == pytest.approx(12, abs=3)
    assert counts["test"] == pytest.approx(12, abs=3)


def test_many_strata_of_ten_keep_the_proportions_over_all():
    members = [Member(f"p{n}", f"site {n // 10}|normal", "") for n in range(200)]
    counts = Counter(assign_splits(members, seed=0)[0])
    assert counts["train"] == pytest.approx(140, abs=6)


@pytest.mark.parametrize(("torn", "words"), [(1, "1 patient stands"), (2, "2 patients stand")])
def test_a_patient_stated_on_two_sides_is_refused_without_a_name(torn, words):
    members = [Member(f"MILLER{n}", "a", side) for n in range(torn) for side in ("train", "test")]
    with pytest.raises(LeakageError, match=f"{words} on two sides of the split") as caught:
        assign_splits(members, seed=0)
    assert "MILLER" not in str(caught.value)


def test_test_rows_alone_stay_so():
    assert assign_splits(patients(4, stated="test"), seed=0)[0] == ["test"] * 4
