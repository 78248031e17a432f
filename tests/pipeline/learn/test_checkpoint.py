import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from pipeline.errors import TrainingError
from pipeline.evaluate.plots import EpochRow
from pipeline.learn.checkpoint import Checkpoint, Progress


def build(seed=0):
    return SliceBagClassifier(build_backbone("squeezenet1_1", seed=seed), 2, pooling="attention", seed=seed)


def test_progress_and_weights_come_back(tmp_path):
    there, here = build(1), build(2)
    progress = Progress(phase=2, epoch=3, worse=1, history=[EpochRow("full", 1, 0.5, 0.4, 0.9)])
    progress.offer(there, 0.9, 0.4)
    optimizer = torch.optim.AdamW(there.parameters())
    progress.optimizer = optimizer.state_dict()
    checkpoint = Checkpoint(tmp_path / "a.pt")
    checkpoint.save(there, progress)
    back = checkpoint.load(here)
    assert (back.phase, back.epoch, back.worse, back.history) == (2, 3, 1, progress.history)
    assert back.best[0] == progress.best[0]
    assert all(torch.equal(back.best[1][key], value) for key, value in there.state_dict().items())
    assert all(torch.equal(here.state_dict()[key], value) for key, value in there.state_dict().items())
    assert back.optimizer["param_groups"][0]["lr"] == optimizer.param_groups[0]["lr"]
    assert not back.offer(here, 0.9, 0.4)


def test_without_a_file_there_is_no_progress_and_nothing_changes(tmp_path):
    classifier = build()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    assert Checkpoint(tmp_path / "none.pt").load(classifier) is None
    assert all(torch.equal(classifier.state_dict()[key], value) for key, value in before.items())


def test_a_checkpoint_is_removed_once_or_twice(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.pt")
    checkpoint.save(build(), Progress())
    checkpoint.remove()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("auroc", "loss", "better"),
    [
        (0.91, 0.9, True),  # a higher AUROC, whatever the loss
        (0.9001, 0.39, True),  # a tie to 3 decimals, a lower loss
        (0.8999, 0.39, True),
        (0.9, 0.4, False),
        (0.9004, 0.41, False),
        (0.89, 0.1, False),
    ],
)
def test_auroc_decides_and_within_a_tie_the_loss(auroc, loss, better):
    progress, classifier = Progress(), torch.nn.Linear(1, 1)
    assert progress.offer(classifier, 0.9, 0.4)
    assert progress.offer(classifier, auroc, loss) is better


def test_the_best_state_is_a_copy():
    progress, classifier = Progress(), torch.nn.Linear(1, 1)
    progress.offer(classifier, 0.9, 0.4)
    kept = classifier.weight.detach().clone()
    with torch.no_grad():
        classifier.weight.add_(1)
    assert torch.equal(progress.best_state()["weight"], kept)


def test_without_an_epoch_there_is_no_best_state():
    with pytest.raises(TrainingError, match="no epoch ended"):
        Progress().best_state()


def test_within_noise_the_earlier_state_stays():
    progress, classifier = Progress(), torch.nn.Linear(1, 1)
    assert progress.offer(classifier, 0.9, 0.40, 0.05)
    assert not progress.offer(classifier, 0.99, 0.36, 0.05)
    assert progress.offer(classifier, 0.8, 0.34, 0.05)
