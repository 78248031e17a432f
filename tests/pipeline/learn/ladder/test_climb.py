"""Which rung is kept, which is left out and why, on rungs whose evidence is made up."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import OutOfTimeError
from pipeline.learn.ladder import climb as module
from pipeline.learn.ladder.climb import climb, unusable
from pipeline.learn.ladder.evidence import Evidence
from pipeline.learn.ladder.problem import Side
from pipeline.learn.ladder.rungs import HURT, Rung, rungs
from pipeline.learn.ladder.trial import Trial
from pipeline.learn.ladder.tuned_rungs import Tuner
from tests.pipeline.learn.ladder.conftest import Hospital, with_config

NOISE = np.random.default_rng(0).normal(0, 0.02, 1000)
FREE = ["nothing", "feature statistics", "harmonise", "AdaBN", "scanner matched"]


def trial(name, value, *, source=False, own_noise=0.0):
    noise = NOISE + own_noise * np.random.default_rng(len(name)).normal(size=1000)
    return Trial(name=name, evidence=Evidence("AUROC", value, value + noise), model={}, uses_source=source)


def rung(name, value, *, scans=0, skip=None, **fields):
    made = trial(name, value, **fields)
    return Rung(name, "made up", lambda _: made, scans, *([skip] if skip else []))


@pytest.fixture
def climbed(problem_of, tmp_path, monkeypatch):
    """Climbs rungs that are given instead of the problem's own; a scan takes a second to train on."""
    monkeypatch.setattr(Tuner, "seconds", lambda _self, scans: float(scans))

    def run(*given, seconds=math.inf, labelled=20):
        monkeypatch.setattr(module, "rungs", lambda *_args, **_kwargs: list(given))
        problem = problem_of(None, Hospital("b"), there=20, labelled=labelled)
        return climb(problem, shifted=True, checkpoints=tmp_path / "x.pt", seconds=seconds)

    return run


def test_a_rung_is_kept_only_if_it_is_better_beyond_noise(climbed):
    found = climbed(rung("first", 0.7), rung("better", 0.8), rung("luckier", 0.81, own_noise=0.05), rung("worse", 0.75))
    assert found.kept == "better"
    assert [row.kept for row in found.rows] == [True, True, False, False]
    assert [row.decision for row in found.rows] == [
        "stands first",
        "kept: better than first beyond noise",
        "not shown better than better",
        "not shown better than better",
    ]
    assert found.rows[2].gain == pytest.approx(0.01)
    assert found.rows[2].gain_low < 0
    assert found.rows[1].low == pytest.approx(0.8 + np.quantile(NOISE, 0.025))
    assert found.trial.name == "better"


def agreeing(name, there, home, own_noise=0.0):
    noise = NOISE + own_noise * np.random.default_rng(len(name)).normal(size=1000)
    seen, held = Evidence("agreement", there, there + noise), Evidence("agreement", home, home + noise)
    made = Trial(name=name, evidence=seen, model={}, agreement=seen, kept_agreement=held, uses_source=True)
    return Rung(name, "made up", lambda _: made)


def test_agreement_is_compared_by_what_it_loses_from_home(climbed):
    found = climbed(agreeing("first", 0.70, 0.85), agreeing("smoother", 0.74, 0.95), agreeing("nearer", 0.69, 0.75))
    assert [row.kept for row in found.rows] == [True, False, True]
    assert found.rows[1].gain == pytest.approx((0.74 - 0.95) - (0.70 - 0.85))
    assert found.rows[2].gain == pytest.approx((0.69 - 0.75) - (0.70 - 0.85))


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (0.70, 0.79, "second"),  # 0.15 lost, which is too much, against 0.06
        (0.78, 0.79, "first"),  # 0.07 lost will do
        (0.70, 0.72, "first"),  # neither will do: nothing is gained by another name
    ],
)
def test_without_labels_a_rung_that_will_do_goes_before_one_that_will_not(climbed, first, second, kept):
    found = climbed(agreeing("first", first, 0.85), agreeing("second", second, 0.85, own_noise=0.1), labelled=0)
    assert found.rows[1].gain_low < 0  # noise hides which is better
    assert found.kept == kept
    assert found.rows[1].kept == (kept == "second")
    if kept == "second":
        assert found.rows[1].decision == "kept: loses the least agreement, and first too much"


def test_gains_are_against_the_rung_that_was_kept_not_the_one_before(climbed):
    found = climbed(rung("first", 0.7), rung("bad", 0.5), rung("middling", 0.65))
    assert found.kept == "first"
    assert found.rows[2].gain == pytest.approx(-0.05)


def test_only_the_rung_that_is_kept_is_completed(climbed):
    completed = []

    def lasting(name, value):
        def complete():
            completed.append(name)
            return {"head.weight": torch.full((2, 3), value)}

        made = replace(trial(name, value), complete=complete)
        return Rung(name, "made up", lambda _: made)

    found = climbed(lasting("first", 0.7), lasting("better", 0.8), lasting("worse", 0.75))
    assert completed == ["better"]
    assert found.trial.model["head.weight"][0, 0] == 0.8
    assert found.trial.complete is None


def test_a_rung_that_runs_out_of_time_is_listed_and_the_climb_goes_on(climbed):
    def endless(_problem):
        raise OutOfTimeError("given up for time after part 1 of 4, which took longer than estimated")

    found = climbed(rung("first", 0.7), Rung("endless", "made up", endless, 10), rung("better", 0.8))
    assert [row.name for row in found.rows] == ["first", "endless", "better"]
    assert found.rows[1].decision.startswith("given up for time")
    assert found.rows[1].value is None
    assert found.kept == "better"


def test_parts_of_a_rung_are_given_up_when_the_rest_would_pass_the_deadline(problem_of, tmp_path, monkeypatch):
    problem = problem_of(None, Hospital("b"), there=60, labelled=60)
    now = [0.0]
    monkeypatch.setattr("pipeline.learn.ladder.tuned_rungs.time.monotonic", lambda: now[0])
    parts = []

    def tuned(_self, _target, _source, title):
        parts.append(title)
        now[0] += 100
        return problem.classifier

    monkeypatch.setattr(Tuner, "_tuned", tuned)
    with pytest.raises(OutOfTimeError, match="after part 1 of 4"):
        Tuner(problem, tmp_path / "x.pt", 399.0).lp_ft()  # four parts of 100 s
    assert len(parts) == 1
    assert Tuner(problem, tmp_path / "x.pt", now[0] + 401.0).lp_ft().evidence.value >= 0


def test_the_sources_labels_are_seen_to_hurt(climbed):
    found = climbed(rung("target probe", 0.9), rung("from source", 0.6, source=True))
    assert found.kept == "target probe"
    assert found.hurt
    assert HURT in found.rows[1].decision


def test_a_rung_of_the_target_alone_that_is_worse_is_no_negative_transfer(climbed):
    assert not climbed(rung("target probe", 0.9), rung("tuned", 0.6)).hurt
    assert not climbed(rung("nothing", 0.9, source=True), rung("aligned", 0.6, source=True)).hurt


def test_the_first_rung_is_tried_however_little_time_there_is_and_the_others_are_listed(climbed):
    found = climbed(rung("first", 0.7, scans=10**9), rung("second", 0.9), rung("third", 0.9, scans=5), seconds=0)
    assert list(found.trials) == ["first"]
    assert [row.name for row in found.rows] == ["first", "second", "third"]
    assert all(row.decision.startswith("left out for time") and row.value is None for row in found.rows[1:])


def test_what_would_not_fit_is_left_out_and_what_does_is_tried_after_it(climbed):
    found = climbed(rung("first", 0.7), rung("long", 0.95, scans=7200), rung("short", 0.8, scans=60), seconds=600)
    assert list(found.trials) == ["first", "short"]
    assert found.rows[1].decision == "left out for time: needs about 120 min, 10 min of time_budget were left"


def test_a_rung_may_be_skipped_for_what_was_decided_before(climbed):
    def skip(tried):
        return "not tried: hurts" if HURT in tried["from source"] else ""

    found = climbed(rung("own", 0.9), rung("from source", 0.6, source=True), rung("more source", 1.0, skip=skip))
    assert found.rows[2].decision == "not tried: hurts"
    assert "more source" not in found.trials
    found = climbed(rung("own", 0.9), rung("from source", 0.9, source=True), rung("more source", 1.0, skip=skip))
    assert found.kept == "more source"


def test_rows_are_plain_values_for_json(climbed):
    (row,) = climbed(rung("first", 0.7)).rows
    told = row.to_json()
    assert told["name"] == "first"
    assert told["value"] == 0.7
    assert all(isinstance(value, str | float | bool | None) for value in told.values())


def names(problem, tmp_path, *, shifted):
    return [one.name for one in rungs(problem, Tuner(problem, tmp_path / "x.pt"), shifted=shifted)]


def test_order_where_a_shift_is_proven_the_target_stands_first(problem_of, tmp_path):
    problem = problem_of(Hospital("a"), Hospital("b"), there=50, labelled=50)
    both = ["source and target probe", "LP-FT on target", "LP-FT on source and target", "alignment (coral)"]
    assert names(problem, tmp_path, shifted=True) == ["target probe", *FREE, *both]
    assert names(problem, tmp_path, shifted=False) == [*FREE, "target probe", *both]


def test_order_without_target_labels(problem_of, tmp_path):
    problem = problem_of(Hospital("a"), Hospital("b"), there=20)
    assert names(problem, tmp_path, shifted=True) == [*FREE, "alignment (coral)"]
    problem = with_config(problem, align="dann")
    assert names(problem, tmp_path, shifted=False) == [*FREE, "alignment (dann)"]


def test_order_without_a_source(problem_of, tmp_path):
    problem = problem_of(None, Hospital("b"), there=50, labelled=50)
    assert names(problem, tmp_path, shifted=False) == ["target probe", "LP-FT on target"]


def test_too_few_labels_for_fine_tuning(problem_of, tmp_path):
    problem = problem_of(Hospital("a"), Hospital("b"), there=48, labelled=48)
    found = names(problem, tmp_path, shifted=True)
    assert "source and target probe" in found
    assert not [name for name in found if name.startswith("LP-FT")]


def side(labels, patients=None, classes=2):
    patients = patients or [str(n) for n in range(len(labels))]
    return Side(tuple(f"c{n}" for n in range(len(labels))), torch.eye(classes)[list(labels)], tuple(patients))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "no target labels"),
        (side([]), "no target labels"),
        (side([1] * 40), "all target labels are of one class"),
        (side([0, 1] * 9), "18 target labels, 9 patients of the rarest class"),
        (side([0] * 40 + [1] * 4), "44 target labels, 4 patients of the rarest class"),
        (side([0, 1] * 20, [str(n % 4) for n in range(40)]), "2 patients of the rarest class"),
        (side([0, 1] * 20, classes=3), "0 patients of the rarest class"),
    ],
)
def test_target_labels_that_cannot_judge(target, words):
    assert words in unusable(target)


def test_target_labels_that_can_judge():
    assert unusable(side([0, 1] * 10)) == ""
    assert unusable(side([0, 1, 2] * 7, classes=3)) == ""
