"""Cohorts that a strategy or a ladder cannot work with are refused before anything long is done."""

from types import SimpleNamespace

import pytest

from pipeline.errors import CohortError
from pipeline.learn.plan import check_usable, describe, make_plan, with_backbone
from pipeline.prepare.cohort import Case, Cohort
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.learn.ladder.conftest import Hospital
from tests.pipeline.learn.ladder.hospitals import CONFIG, write_hospitals


def cases(site, split, labels):
    return [
        Case(
            ref=SimpleNamespace(key=f"{site}{split}{n}"),
            labels=(label,) if label else (),
            patient=f"{site}{split}{n}",
            known_patient=True,
            split=split,
            columns=(("site", site),),
        )
        for n, label in enumerate(labels)
    ]


def cohort(*parts):
    return Cohort(("normal", "opacity"), tuple(case for part in parts for case in part), (), ())


BOTH = ["normal", "opacity"]
NORTH = [*cases("north", "train", BOTH * 5), *cases("north", "val", BOTH * 2)]
UNKNOWN = cases("south", "train", [""] * 20)
AUTO = CONFIG
FIXED = CONFIG.model_copy(update={"strategy": "lp_ft"})
ALONE = CONFIG.model_copy(update={"target_sites": ()})


@pytest.mark.parametrize("config", [AUTO, FIXED])
def test_a_labelled_source_and_20_unlabelled_target_scans_will_do(config):
    check_usable(cohort(NORTH, UNKNOWN), config)


@pytest.mark.parametrize("config", [AUTO, FIXED])
def test_test_rows_of_the_target_do_not_count(config):
    with pytest.raises(CohortError, match="19 scans of target_sites that are not test rows"):
        check_usable(cohort(NORTH, UNKNOWN[1:], cases("south", "test", [""] * 20)), config)


def test_a_ladder_needs_a_source_that_is_enough_without_the_target():
    """A fixed strategy trains on the labels of both."""
    target = [*cases("south", "train", BOTH * 20), *cases("south", "val", BOTH * 5)]
    with pytest.raises(CohortError, match="outside target_sites, and there: one class only"):
        check_usable(cohort(cases("north", "train", ["normal"] * 5), target), AUTO)
    check_usable(cohort(cases("north", "train", ["normal"] * 5), target), FIXED)
    with pytest.raises(CohortError, match="leave target_sites empty"):
        check_usable(cohort(target), AUTO)


def test_a_ladder_in_one_hospital_needs_labels_enough_to_judge_by():
    with pytest.raises(CohortError, match="strategy auto without target_sites: 14 target labels"):
        check_usable(cohort(NORTH), ALONE)
    check_usable(cohort(NORTH, cases("north", "train", ["", *BOTH * 3])), ALONE)
    check_usable(cohort(NORTH), FIXED.model_copy(update={"target_sites": ()}))


def test_a_plan_of_a_ladder_describes_itself_and_takes_another_backbone(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), train=8, val=8, there=20)
    plan = make_plan(labels, Workspace(tmp_path / "ws").open(), CONFIG, Watch())
    told = describe(plan)
    assert told["strategy"] == "auto: a ladder of rungs"
    assert told["scans"]["train"] == {"normal": 4, "opacity": 4, "patients": 4}
    assert "MILLER" not in str(told)
    other = with_backbone(plan, "squeezenet1_1")
    assert other.config.backbone == "squeezenet1_1"
    assert other.classifier.backbone.name == "squeezenet1_1@all"
    assert other.cohort is plan.cohort
    assert other.digest() != plan.digest()
