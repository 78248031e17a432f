"""Fixed strategies that look at a target's unlabelled scans, from labels.csv to a bundle."""

import numpy as np
import pytest

from models.alignment import ALIGNMENTS
from models.bundle import open_bundle
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import parse_training_set
from pipeline.model_record import read_record
from pipeline.prepare.cache import SampleStore
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import CONFIG, run, write_hospitals

SLOW, QUICK = pytest.mark.slow, ("coral", "adabn", "dann")
PROBE = CONFIG.model_copy(update={"strategy": "linear_probe"})
SOUTH = Hospital("south", pale)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two hospitals of like patients; the second has another scanner and no labels."""
    folder = tmp_path_factory.mktemp("hospitals")
    return write_hospitals(folder / "in", SOUTH, train=36, val=24, there=30), folder


@pytest.mark.parametrize("align", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in ALIGNMENTS])
def test_each_alignment_goes_from_labels_to_a_bundle(hospitals, tmp_path, align):
    labels, folder = hospitals
    made = run(labels, folder, config=PROBE, align=align, name=f"bundle-{align}")
    record = read_record(open_bundle(made.bundle))
    assert record.config.align == align
    assert made.record["validation"]["n"] == 24
    assert made.record["ladder"] is None
    seen = parse_training_set(open_bundle(made.bundle).text(TRAINING_SET))
    assert all(seen.saw(case) is (case.split != "test") for case in made.plan.cohort.cases)
    notes = " ".join(made.record["notes"])
    assert (f"{align}: statistics are those of 30 target scans" in notes) is (align in ("adabn", "feature_statistics"))
    phases = {row[0] for row in made.record["history"]}
    assert ("align" in phases) is (align not in ("adabn", "feature_statistics"))


def test_test_time_adaptation_is_told_and_no_identity_with_it(hospitals):
    labels, folder = hospitals
    made = run(labels, folder, config=PROBE, test_time="tent", name="bundle-tent")
    assert any(note.startswith("test-time tent") for note in made.record["notes"])
    assert read_record(open_bundle(made.bundle)).config.test_time == "tent"
    files = [path for top in (made.bundle, made.folder) for path in top.rglob("*") if path.is_file()]
    for text in (*(path.read_bytes() for path in files), "\n".join(made.notes).encode()):
        assert b"MILLER" not in text
        assert str(folder / "in").encode() not in text


def test_harmonised_scans_are_what_the_model_is_trained_on_and_scores(hospitals):
    labels, folder = hospitals
    made = run(labels, folder, config=PROBE, harmonise="nyul", name="bundle-nyul")
    harmonise = read_record(open_bundle(made.bundle)).preparation.harmonise
    assert harmonise.kind == "nyul"
    plain = SampleStore(folder / "ws" / "cache", made.plan.preparation)
    brought = SampleStore(plain.folder, made.plan.preparation.model_copy(update={"harmonise": harmonise}))
    for case in made.plan.cohort.cases:
        assert brought.path(case.ref.key).exists() is (case.split != "test")
        if case.split != "test":
            np.testing.assert_array_equal(brought.load(case.ref.key), harmonise.apply(plain.load(case.ref.key)))
