"""What a fixed strategy is given of the target's scans, and when it may not have it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.errors import NoBatchNormError, UnknownNameError
from pipeline.errors import CohortError, ConfigError, RefusedError
from pipeline.learn import target as module
from pipeline.learn.ladder.probe import fit_probe
from pipeline.learn.plan import make_plan
from pipeline.learn.target import alignment_term, check_source, domain, guard, target_set
from pipeline.prepare.cache import SampleStore
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.learn.ladder.conftest import Hospital, pale
from tests.pipeline.learn.ladder.hospitals import CONFIG, run, write_hospitals

PROBE = CONFIG.model_copy(update={"strategy": "linear_probe"})
SOUTH = Hospital("south", pale)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two hospitals of like patients; the second has another scanner and no labels."""
    folder = tmp_path_factory.mktemp("hospitals")
    return write_hospitals(folder / "in", SOUTH, train=36, val=24, there=30), folder


def plan_of(hospitals, **fields):
    labels, folder = hospitals
    workspace = Workspace(folder / "ws").open()
    return make_plan(labels, workspace, PROBE.model_copy(update=fields), Watch()), workspace


def filled(plan, workspace):
    store = SampleStore(workspace.cache, plan.preparation)
    store.fill([case.ref for case in plan.cohort.cases if case.split != "test"])
    return store


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"align": "coral", "target_sites": ()}, ConfigError, "align=coral needs target_sites"),
        ({"test_time": "tent", "target_sites": ()}, ConfigError, "test_time=tent needs target_sites"),
        ({"align": "adabn", "backbone": "squeezenet1_1"}, NoBatchNormError, "squeezenet1_1 has no batch norm"),
        ({"align": "corral"}, UnknownNameError, "unknown alignment 'corral'"),
        ({"align": "mcc", "task": "multilabel"}, ConfigError, "align=mcc: needs task multiclass"),
    ],
)
def test_what_alignment_cannot_do_is_refused_by_the_plan(hospitals, change, error, words):
    with pytest.raises(error, match=words):
        plan_of(hospitals, **change)


def test_fewer_than_20_target_scans_are_an_error(tmp_path):
    labels = write_hospitals(tmp_path / "in", SOUTH, train=8, val=8, there=18)
    with pytest.raises(CohortError, match="18 scans of target_sites"):
        plan_of((labels, tmp_path), align="coral")


def test_the_target_set_holds_all_scans_of_the_target_but_test_rows(hospitals):
    plan, workspace = plan_of(hospitals)
    store = SampleStore(workspace.cache, plan.preparation)
    expected = {case.ref.key for case in plan.cohort.cases if case.site == "south" and case.split != "test"}
    assert set(target_set(plan, store).contents) == expected
    assert len(expected) == 30
    assert target_set(replace(plan, config=plan.config.model_copy(update={"target_sites": ()})), store) is None


def test_only_losses_have_a_term(hospitals):
    plan, _ = plan_of(hospitals)

    def term(**fields):
        return alignment_term(replace(plan, config=plan.config.model_copy(update=fields)))

    assert term(align="none") is None
    assert term(align="adabn") is None
    assert term(align="coral", align_weight=2.5).weight == 2.5


def test_without_alignment_nothing_is_measured(hospitals, monkeypatch):
    plan, _ = plan_of(hospitals)
    monkeypatch.setattr(module, "measure_shift", lambda *_args, **_kwargs: pytest.fail("measured"))
    assert guard(plan, SampleStore(hospitals[1] / "nowhere", plan.preparation), Watch()) == ((), None)


@pytest.mark.parametrize(("align", "refused"), [("coral", True), ("dan", True), ("dann", True), ("adabn", False)])
def test_another_mix_of_classes_alone_is_refused_or_warned_of(hospitals, monkeypatch, align, refused):
    """What the shift report finds is made up here; the real one is run below."""
    shift = SimpleNamespace(detected=True, mixture=SimpleNamespace(fits=True))
    found = SimpleNamespace(prevalence=shift, kind=SimpleNamespace(kind="prevalence"))
    monkeypatch.setattr(module, "measure_shift", lambda *_args, **_kwargs: found)
    plan, workspace = plan_of(hospitals, align=align)
    store = filled(plan, workspace)
    if refused:
        with pytest.raises(RefusedError, match=f"align={align}: the target's class mix differs"):
            guard(plan, store, Watch())
    else:
        warnings, prevalence = guard(plan, store, Watch())
        assert prevalence is shift
        assert "class mix differs" in " ".join(warnings)


@pytest.mark.parametrize(("kind", "fits"), [("both", True), ("covariate", True), (None, True), ("prevalence", False)])
def test_another_mix_beside_other_images_is_a_warning(hospitals, monkeypatch, kind, fits):
    shift = SimpleNamespace(detected=True, mixture=SimpleNamespace(fits=fits))
    found = SimpleNamespace(prevalence=shift, kind=SimpleNamespace(kind=kind))
    monkeypatch.setattr(module, "measure_shift", lambda *_args, **_kwargs: found)
    plan, workspace = plan_of(hospitals, align="coral")
    warnings, _ = guard(plan, filled(plan, workspace), Watch())
    assert len(warnings) == 1


def test_a_source_without_a_side_or_a_class_is_an_error():
    one, other = (SimpleNamespace(labels=(name,)) for name in ("normal", "opacity"))
    config = PROBE.model_copy(update={"align": "coral"})
    check_source([one, other], [one], config)
    with pytest.raises(CohortError, match="align=coral: no labelled train row lies outside target_sites"):
        check_source([], [one], config)
    with pytest.raises(CohortError, match="no labelled val row"):
        check_source([one, other], [], config)
    with pytest.raises(CohortError, match="one class only"):
        check_source([one, one], [one], PROBE.model_copy(update={"test_time": "tent"}))


def test_where_all_labels_are_the_targets_there_is_no_source_to_align_with(hospitals):
    plan, workspace = plan_of(hospitals)
    config = plan.config.model_copy(update={"align": "coral", "target_sites": ("north", "south")})
    with pytest.raises(CohortError, match="no labelled train row lies outside target_sites"):
        guard(replace(plan, config=config), SampleStore(workspace.cache, plan.preparation), Watch())


def test_a_side_is_what_the_probe_sees(hospitals):
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(6, 4, generator=rng) * 3 + 1
    probe = fit_probe(features, torch.eye(2)[[0, 1] * 3], (4,), "multiclass")
    cases = [SimpleNamespace(labels=(("normal", "opacity")[n % 2],), patient=f"p{n}") for n in range(6)]
    found = domain(probe, features, cases, ("normal", "opacity"))
    np.testing.assert_allclose(found.features.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.features.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(found.logits, probe.logits(features).numpy())
    assert found.truth.tolist() == [[1, 0], [0, 1]] * 3
    assert domain(probe, features, cases, None).truth is None


def test_a_real_label_shift_is_refused_before_training(tmp_path):
    """The same scanner, and nine in ten are ill where half were: only the class mix differs."""
    same = Hospital("south", strength=0.5)
    north = Hospital("north", strength=0.5)
    labels = write_hospitals(tmp_path / "in", same, north=north, train=100, val=100, there=100, share=0.9, tests=0)
    with pytest.raises(RefusedError, match="align=coral: the target's class mix differs and its images do not"):
        run(labels, tmp_path, config=PROBE, align="coral")
    assert not (tmp_path / "bundle").exists()
