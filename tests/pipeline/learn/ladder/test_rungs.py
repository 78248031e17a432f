"""Ladders that are really climbed, on made-up hospitals whose scanners, patients and labels are known."""

import numpy as np
import pytest
import torch

from pipeline.learn.ladder.climb import climb
from pipeline.learn.ladder.source_rungs import MOST_SOURCE, derive, nothing, scanner, sides
from pipeline.learn.ladder.trial import SPLITS, view_columns
from pipeline.prepare.samples import to_tensor
from tests.pipeline.learn.ladder.conftest import Hospital, pale, with_config

SOURCE, LIKE, PALE = Hospital("a"), Hospital("b"), Hospital("b", pale)


def up(problem, folder, *, shifted, seconds=1e9):
    return climb(problem, shifted=shifted, checkpoints=folder / "training" / "x.pt", seconds=seconds)


def told(found):
    return [(row.name, row.value, row.low, row.high, row.gain, row.held, row.decision) for row in found.rows]


def test_one_seed_gives_one_ladder(problem_of, tmp_path):
    made = {"fit": 20, "held": 10, "there": 20, "labelled": 20}
    state = torch.get_rng_state()
    one = up(problem_of(SOURCE, PALE, **made), tmp_path / "one", shifted=True)
    assert torch.equal(torch.get_rng_state(), state)
    other = up(problem_of(SOURCE, PALE, **made), tmp_path / "other", shifted=True)
    assert told(one) == told(other)
    assert one.kept == other.kept
    for name, tensor in one.trial.model.items():
        assert torch.equal(tensor, other.trial.model[name])
    third = up(problem_of(SOURCE, PALE, **made, seed=5), tmp_path / "third", shifted=True, seconds=0)
    assert told(third)[0] != told(one)[0]


@pytest.mark.parametrize("name", ["nothing", "scanner matched"])
def test_a_rungs_model_gives_the_logits_that_it_was_judged_by(problem_of, name):
    problem = problem_of(SOURCE, PALE, fit=40, held=20, there=20, labelled=20)
    trial = {"nothing": nothing, "scanner matched": scanner}[name](problem)
    problem.classifier.load_state_dict(dict(trial.model), strict=False)
    slices = torch.cat([to_tensor(problem.store.load(content)) for content in problem.unlabelled])
    with torch.inference_mode():
        logits = problem.classifier.eval()(slices[:, None], torch.ones(len(slices), 1, dtype=torch.bool))
    torch.testing.assert_close(trial.unlabelled_logits, logits, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(trial.target_logits, trial.unlabelled_logits[problem.labelled_rows])


def test_the_source_is_thinned_for_costly_rungs_on_both_sides_alike(problem_of):
    problem = problem_of(SOURCE, LIKE, fit=80, held=40, there=20)
    fit, held = sides(problem, 60)
    assert (len(fit), len(held)) == (40, 20)
    assert set(fit.contents) < set(problem.source.contents)
    assert set(held.contents) < set(problem.held.contents)
    assert sides(problem, 60)[0].contents == fit.contents
    assert sides(with_config(problem, seed=1), 60)[0].contents != fit.contents
    assert sides(problem, MOST_SOURCE) == (problem.source, problem.held)


def test_views_are_stages_or_random_quarters_where_there_are_few_stages():
    assert [columns.tolist() for columns in view_columns((2, 1, 3), 0)] == [[0, 1], [2], [3, 4, 5]]
    quarters = view_columns((8,), 0)
    assert len(quarters) == SPLITS
    assert sorted(torch.cat(quarters).tolist()) == list(range(8))
    assert [q.tolist() for q in view_columns((8,), 1)] != [q.tolist() for q in quarters]


def test_changed_copies_are_made_once(problem_of):
    problem = problem_of(SOURCE, LIKE, fit=4, held=2, there=4)
    contents, made = problem.source.contents, []

    def darker(sample, n):
        made.append(n)
        return sample // 2

    for _ in range(2):
        derive(problem.store, contents, problem.store, [f"{content}|dark" for content in contents], darker)
    assert made == [0, 1, 2, 3]
    np.testing.assert_array_equal(problem.store.load(f"{contents[3]}|dark"), problem.store.load(contents[3]) // 2)
