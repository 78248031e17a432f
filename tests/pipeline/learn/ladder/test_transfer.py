"""Negative transfer is seen, and transfer is used where it helps: ladders climbed on made-up hospitals."""

import torch
from sklearn.metrics import roc_auc_score

from pipeline.learn.ladder.climb import climb
from pipeline.learn.ladder.rungs import HURT
from pipeline.prepare.samples import to_tensor
from tests.pipeline.learn.ladder.conftest import Hospital, take

SOURCE, LIKE = Hospital("a"), Hospital("b")
FAINT, FAINT_LIKE = Hospital("a", strength=0.12), Hospital("b", strength=0.12)


def up(problem, folder, *, shifted, seconds=1e9):
    return climb(problem, shifted=shifted, checkpoints=folder / "training" / "x.pt", seconds=seconds)


def test_flipped_source_labels_are_seen_to_hurt_and_are_dropped(problem_of, tmp_path):
    problem = problem_of(SOURCE, LIKE, there=50, labelled=50, flipped=True)
    found = up(problem, tmp_path, shifted=True)
    rows = {row.name: row for row in found.rows}
    assert found.hurt
    assert not found.trial.uses_source
    assert found.trial.evidence.value > 0.9
    assert rows["nothing"].value < 0.1
    assert HURT in rows["source and target probe"].decision
    for name in ("LP-FT on source and target", "alignment (coral)"):
        assert rows[name].decision == "not tried: the source's labels hurt the probe"
    assert "LP-FT on target" in found.trials
    assert not list((tmp_path / "training").glob("*"))


def test_flipped_source_labels_are_dropped_where_no_shift_of_the_images_was_shown(problem_of, tmp_path):
    problem = problem_of(SOURCE, LIKE, there=30, labelled=30, flipped=True)
    found = up(problem, tmp_path, shifted=False, seconds=60)
    assert found.rows[0].name == "nothing"
    assert not found.trial.uses_source
    assert found.trial.evidence.value > 0.9


def test_the_source_helps_where_the_sites_are_alike_and_labels_few(problem_of, tmp_path):
    problem = problem_of(FAINT, FAINT_LIKE, fit=200, held=40, there=60, labelled=20)
    found = up(problem, tmp_path, shifted=True)
    own = found.trials["target probe"].evidence.value
    assert found.trial.uses_source
    assert found.trial.evidence.value > own
    classifier = problem.classifier
    fresh = take(problem.store, FAINT_LIKE, 100, seed=9)

    def auroc(trial):
        classifier.load_state_dict(dict(trial.model), strict=False)
        slices = torch.cat([to_tensor(problem.store.load(content)) for content in fresh.contents])
        with torch.inference_mode():
            logits = classifier.eval()(slices[:, None], torch.ones(len(slices), 1, dtype=torch.bool))
        return roc_auc_score(fresh.targets[:, 1], logits[:, 1] - logits[:, 0])

    assert auroc(found.trial) > auroc(found.trials["target probe"])
