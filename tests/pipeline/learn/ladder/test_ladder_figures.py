"""The benchmark's first claim in small: over seeds, the ladder is not below the target-only probe of the same labels.

Measured on target scans of other patients, after the climb.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipeline.learn.ladder.climb import climb
from pipeline.learn.ladder.verdict import judge
from pipeline.prepare.samples import to_tensor
from tests.pipeline.learn.ladder.conftest import Hospital, make_problem, pale, take

SEEDS, FRESH = range(5), 120
FAINT = Hospital("a", strength=0.15)


def measured(problem, trial, hospital):
    """AUROC of a rung's model on scans of patients whom nobody has seen, prepared as it wants them."""
    plain = problem.store
    fresh = take(plain, hospital, FRESH, seed=99)
    classifier = problem.classifier
    before = {key: tensor.clone() for key, tensor in classifier.state_dict().items()}
    classifier.load_state_dict(dict(trial.model), strict=False)
    standard = trial.preparation.harmonise if trial.preparation else None
    samples = [plain.load(content) for content in fresh.contents]
    slices = torch.cat([to_tensor(standard.apply(one) if standard else one) for one in samples])
    with torch.inference_mode():
        logits = classifier.eval()(slices[:, None], torch.ones(len(slices), 1, dtype=torch.bool))
    classifier.load_state_dict(before)
    return roc_auc_score(fresh.targets[:, 1], logits[:, 1] - logits[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize(("labelled", "flipped"), [(20, False), (20, True), (60, False)])
def test_the_ladder_is_not_below_the_target_probe(tmp_path, labelled, flipped):
    there, differences = Hospital("b", pale, strength=0.15), []
    for seed in SEEDS:
        problem = make_problem(tmp_path / str(seed), FAINT, there, labelled=labelled, flipped=flipped, seed=seed)
        found = climb(problem, shifted=True, checkpoints=tmp_path / f"{seed}.pt", seconds=1e9)
        kept, own = (measured(problem, trial, there) for trial in (found.trial, found.trials["target probe"]))
        differences.append(kept - own)
    assert np.mean(differences) >= -0.01
    assert min(differences) >= -0.1


@pytest.mark.slow
def test_without_labels_a_hospital_like_the_source_is_not_refused(tmp_path):
    for seed in SEEDS:
        problem = make_problem(tmp_path / str(seed), FAINT, Hospital("b", strength=0.15), held=60, seed=seed)
        found = climb(problem, shifted=True, checkpoints=tmp_path / f"{seed}.pt", seconds=20)
        assert judge(found, None, shifted=True, wanting="no target labels").refusal == ""
