"""How a plan is trained: the standard of harmonised scans, and which rows backbones are measured on."""

import pytest

from pipeline.errors import CohortError
from pipeline.learn.plan import make_plan
from pipeline.learn.train import _measured_on, harmonised
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.harmonise import fit_harmonise
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import CONFIG, write_hospitals

PROBE = CONFIG.model_copy(update={"strategy": "linear_probe"})


@pytest.fixture
def planned(tmp_path):
    """A plan of two hospitals, with its workspace."""

    def build(labelled=0, there=40, **fields):
        labels = write_hospitals(
            tmp_path / "in", Hospital("south", pale), train=24, val=12, there=there, labelled=labelled
        )
        workspace = Workspace(tmp_path / "ws").open()
        return make_plan(labels, workspace, PROBE.model_copy(update=fields), Watch()), workspace

    return build


def filled(plan, workspace):
    store = SampleStore(workspace.cache, plan.preparation)
    store.fill([case.ref for case in plan.cohort.cases if case.split != "test"])
    return store


def test_the_standard_is_learned_from_the_sources_training_rows_alone(planned):
    plan, workspace = planned(labelled=20, harmonise="nyul")
    store = filled(plan, workspace)
    changed, brought = harmonised(plan, store, Watch())
    source = [case for case in plan.cohort.side("train") if case.site == "north"]
    assert len(source) == 24
    assert changed.preparation.harmonise == fit_harmonise("nyul", (store.load(case.ref.key) for case in source))
    assert brought.preparation == changed.preparation
    assert changed.digest() != plan.digest()


def test_nothing_is_harmonised_unasked(planned):
    plan, workspace = planned()
    store = SampleStore(workspace.cache, plan.preparation)
    assert harmonised(plan, store, Watch()) == (plan, store)


def test_a_standard_needs_a_source(planned):
    plan, workspace = planned(labelled=20, harmonise="nyul", source_sites=(), target_sites=("north", "south"))
    with pytest.raises(CohortError, match="harmonise=nyul: no labelled train row lies outside target_sites"):
        harmonised(plan, filled(plan, workspace), Watch())


@pytest.mark.parametrize(("labelled", "site", "count"), [(40, "south", 40), (36, "north", 24), (0, "north", 24)])
def test_backbones_are_measured_on_the_target_where_it_has_ten_patients_of_each_class(planned, labelled, site, count):
    """Two scans a patient: 40 scans are ten patients of each class, 36 are nine."""
    plan, _ = planned(labelled=labelled)
    found = _measured_on(plan)
    assert {case.split for case in found} == {"train"}
    assert len([case for case in found if case.site == site]) == count
    if site == "south":
        assert {case.site for case in found} == {"south"}
