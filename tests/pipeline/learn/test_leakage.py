import json

from pipeline.learn.leakage import parse_training_set, training_set, training_sets_of
from pipeline.prepare.cohort import Case
from pipeline.scan import SeriesRef


def case(patient, content, *, known=True):
    return Case(SeriesRef("a", "1.2", "ok", content=content), ("normal",), patient, known, "train", ())


SEEN = [case("MILLER", "aaaa"), case("line 3", "bbbb", known=False)]


def test_a_patient_or_a_file_from_training_is_recognised():
    seen = parse_training_set(training_set(SEEN).to_json())
    assert seen.saw(case("MILLER", "new"))
    assert seen.saw(case("other", "aaaa"))
    assert seen.saw(case("other", "bbbb", known=False))
    assert not seen.saw(case("SMITH", "new"))


def test_a_row_number_is_no_patient():
    """`line 3` of another labels.csv has nothing to do with this one."""
    seen = training_set(SEEN)
    assert not seen.saw(case("line 3", "new", known=False))
    assert not seen.saw(case("line 3", "new", known=True))
    assert len(seen.patients) == 1


def test_nothing_of_the_patient_is_written_and_the_salt_is_fresh():
    one, other = training_set(SEEN), training_set(SEEN)
    text = one.to_json()
    assert "MILLER" not in text
    assert "aaaa" not in text
    assert one.salt != other.salt
    assert not one.patients & other.patients
    assert all(len(value) == 32 for value in json.loads(text)["patients"])


def test_a_volume_of_a_file_is_not_another_volume_of_it():
    first = Case(SeriesRef("a", "1#1", "ok", content="cc", volume=1), ("n",), "line 1", False, "train", ())
    second = Case(SeriesRef("a", "1#2", "ok", content="cc", volume=2), ("n",), "line 2", False, "test", ())
    seen = training_set([first])
    assert seen.saw(first)
    assert not seen.saw(second)


def test_who_trained_the_network_that_was_the_start_counts_too():
    child = training_set([case("SMITH", "cccc")], (training_set(SEEN),))
    again = parse_training_set(child.to_json())
    assert again == child
    assert again.saw(case("MILLER", "new"))
    assert again.saw(case("SMITH", "new"))
    assert not again.saw(case("JONES", "new"))


def test_a_bundle_named_as_weights_tells_who_trained_it(new_bundle, tmp_path):
    (parent,) = training_sets_of(str(new_bundle(tmp_path / "parent", seen=SEEN)))
    assert parent.saw(case("MILLER", "new"))
    assert training_sets_of("imagenet") == training_sets_of(str(tmp_path / "none.pt")) == ()
