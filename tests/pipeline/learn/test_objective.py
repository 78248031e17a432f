import math

import pytest
import torch
from torch.nn import functional

from pipeline.learn.objective import anomaly_score, class_weights, loss_sum, probabilities, row_losses

LABELS = torch.tensor([0, 0, 0, 1])
ONE_HOT = torch.eye(2)[LABELS]
SEVERAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def logits(rows, classes, seed=0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_weights_make_every_class_count_alike():
    """n = 4, L = 2, counts 3 and 1: 4/6 and 4/2."""
    weights = class_weights(ONE_HOT, "multiclass")
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])
    assert (3 * weights[0]).item() == pytest.approx(weights[1].item())


def test_weights_of_several_labels_are_negatives_per_positive():
    assert class_weights(SEVERAL, "multilabel").tolist() == pytest.approx([3.0, 3.0, 1 / 3])


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_class_that_is_not_there_or_everywhere_gives_no_infinity(task):
    targets = torch.tensor([[1.0, 0.0]] * 500)
    assert class_weights(targets, task).isfinite().all()
    assert (class_weights(targets, task) > 0).all()


def test_multiclass_loss_worked_out_by_hand():
    """Logits 0 and log 3: p = 1/4 and 3/4; weights 2 and 5."""
    total, divisor = loss_sum(
        torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]]), torch.eye(2), torch.tensor([2.0, 5.0]), "multiclass"
    )
    assert total.item() == pytest.approx(2 * math.log(4) + 5 * math.log(4 / 3))
    assert divisor.item() == 7.0


def test_multilabel_loss_worked_out_by_hand():
    total, divisor = loss_sum(
        torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([2.0, 9.0]), "multilabel"
    )
    assert total.item() == pytest.approx(2 * math.log(4 / 3) + math.log(2))
    assert divisor.item() == 2.0


def test_their_quotient_is_torchs_own_weighted_mean():
    scores, weights = logits(4, 2), class_weights(ONE_HOT, "multiclass")
    total, divisor = loss_sum(scores, ONE_HOT, weights, "multiclass")
    torch.testing.assert_close(total / divisor, functional.cross_entropy(scores, LABELS, weight=weights))
    scores, weights = logits(4, 3), class_weights(SEVERAL, "multilabel")
    total, divisor = loss_sum(scores, SEVERAL, weights, "multilabel")
    expected = functional.binary_cross_entropy_with_logits(scores, SEVERAL, pos_weight=weights)
    torch.testing.assert_close(total / divisor, expected)


@pytest.mark.parametrize(("task", "targets"), [("multiclass", ONE_HOT), ("multilabel", SEVERAL)])
def test_parts_of_a_batch_add_up_to_the_whole(task, targets):
    scores, weights = logits(*targets.shape), class_weights(targets, task)
    whole = loss_sum(scores, targets, weights, task)
    parts = [loss_sum(scores[part], targets[part], weights, task) for part in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0])
    torch.testing.assert_close(parts[0][1] + parts[1][1], whole[1])


def test_probabilities_and_anomaly_score_by_hand():
    scores = torch.tensor([[0.0, 2 * math.log(3)]])
    torch.testing.assert_close(probabilities(scores, "multiclass", 2.0), torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(probabilities(scores, "multilabel", 2.0), torch.tensor([[0.5, 0.75]]))
    torch.testing.assert_close(anomaly_score(torch.tensor([[0.25, 0.75]])), torch.tensor([0.75]))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_mean_of_row_losses_is_the_mean_loss(task):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=generator)
    targets = torch.eye(3)[torch.arange(9) % 3]
    weights = torch.tensor([0.5, 1.0, 2.0])
    total, divisor = loss_sum(logits, targets, weights, task)
    assert float(row_losses(logits, targets, weights, task).mean()) == pytest.approx(float(total / divisor), rel=1e-6)
