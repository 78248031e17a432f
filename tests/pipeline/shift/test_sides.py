from collections import Counter

import pytest

from pipeline.errors import RefusedError
from pipeline.prepare.samples import Preparation
from pipeline.scan import SeriesRef
from pipeline.shift.reading import labelled_only, side_record, truth_of
from pipeline.shift.sides import FoundSide, Member, at_most, of_one_kind, source_of, with_known_labels


def member(n, patient, *labels, modality="CR"):
    return Member(SeriesRef(f"{n}.dcm", f"1.2.{n}", "ok", modality=modality, content=str(n)), patient, labels)


def side(*members):
    return FoundSide("incoming", "folder", members, len(members))


def test_whole_patients_are_drawn_in_their_order():
    whole = side(*(member(n, f"p{n // 3}") for n in range(90)))
    some = at_most(whole, seed=1, most=30)
    assert len(some.members) == 30
    assert set(Counter(m.patient for m in some.members).values()) == {3}
    places = [whole.members.index(m) for m in some.members]
    assert places == sorted(places)
    assert some.refused["NOT_DRAWN"] == 60
    assert "60 series were left out" in some.notes[0]
    assert at_most(whole, seed=1, most=30) == some
    assert at_most(whole, seed=2, most=30).members != some.members
    assert at_most(whole, seed=1, most=90) is whole


def test_one_patient_with_more_scans_than_are_compared_is_cut():
    assert len(at_most(side(*(member(n, "p") for n in range(9))), seed=0, most=4).members) == 4


def test_another_kind_is_counted_and_alone_it_is_refused():
    wanted = Preparation(kind="radiograph", modality="CR/DX", image_size=64, slices=1, intensity="auto")
    mixed = of_one_kind(side(member(1, "a"), member(2, "b", modality="CT"), member(3, "c", modality="DX")), wanted)
    assert [m.patient for m in mixed.members] == ["a", "c"]
    assert mixed.refused == Counter({"NOT_APPLICABLE": 1})
    with pytest.raises(RefusedError, match="1 volume CT; this comparison is for radiograph CR/DX"):
        of_one_kind(side(member(2, "b", modality="CT")), wanted)


def test_unknown_labels_count_as_none():
    known = with_known_labels(side(member(1, "a", "normal"), member(2, "b", "tumour")), ("normal", "opacity"))
    assert [m.labels for m in known.members] == [("normal",), ()]
    assert truth_of(known.members, ("normal", "opacity")) is None
    assert truth_of(known.members[:1], ("normal", "opacity")).tolist() == [[1, 0]]


def test_unlabelled_scans_are_left_out_where_enough_are_labelled():
    members = [member(n, f"p{n}", *(["normal"] if n < 5 else [])) for n in range(8)]
    assert len(labelled_only(side(*members), 5).members) == 5
    assert labelled_only(side(*members), 6).members == tuple(members)


def test_the_record_counts_and_names_nobody():
    record = side_record(side(member(1, "Hans"), member(2, "Hans", "normal")).less([], "X"))
    assert record == {"source": "folder", "found": 2, "used": 0, "patients": 0, "labelled": 0, "left_out": {"X": 2}}


def test_what_a_path_is(samples, radiograph_bundle):
    assert source_of(radiograph_bundle) == "bundle"
    assert source_of(samples / "radiographs" / "labels.csv") == "labels"
    assert source_of(samples / "incoming") == "folder"
