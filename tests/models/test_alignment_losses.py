"""Alignment losses against values worked out by hand and second implementations in numpy."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from models.alignment import ALIGNMENTS, LOSSES, OPERATIONS
from models.alignment.coral import coral_loss
from models.alignment.dann import DomainAdversary, reversal_factor, reverse_gradient
from models.alignment.loss import DomainBatch
from models.alignment.mcc import mcc_loss
from models.alignment.mmd import mmd_loss

RNG = np.random.default_rng(0)


def rows(n, features=5, shift=0.0, scale=1.0):
    return torch.tensor(RNG.normal(shift, scale, (n, features)))


def test_every_name_is_a_loss_or_an_operation_and_not_both():
    assert set(ALIGNMENTS) == set(LOSSES) | set(OPERATIONS)
    assert not set(LOSSES) & set(OPERATIONS)
    assert set(LOSSES) == {"coral", "dan", "dann", "mcc"}


def test_coral_of_two_rows_each_by_hand():
    """Variances 2 and 0 against 0 and 8, no covariance: (2^2 + 8^2) / (4 * 2^2)."""
    source, target = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    assert float(coral_loss(source, target)) == pytest.approx(68 / 16)


def test_coral_is_the_papers_formula_in_numpy():
    source, target = rows(7), rows(9, scale=2.0)
    difference = np.cov(source.numpy().T) - np.cov(target.numpy().T)
    expected = np.linalg.norm(difference, "fro") ** 2 / (4 * 5**2)
    assert float(coral_loss(source, target)) == pytest.approx(expected, rel=1e-12)


def test_coral_does_not_see_means():
    """Unlike the version that adds the squared difference of the means."""
    source = rows(8)
    assert float(coral_loss(source, source + 3)) == pytest.approx(0, abs=1e-24)


def test_coral_of_one_feature_that_differs_by_one_is_a_quarter_over_f_squared():
    source = rows(6, features=40)
    source = (source - source.mean(dim=0)) / source.std(dim=0)
    target = source.clone()
    target[:, 0] *= math.sqrt(2)  # its variance is 2, its covariances grow too
    others = float((source[:, 1:].T @ source[:, 0] / 5 * (math.sqrt(2) - 1)).square().sum()) * 2
    assert float(coral_loss(source, target)) == pytest.approx((1 + others) / (4 * 40**2), rel=1e-9)


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_mmd_of_two_points_by_hand(size):
    """Two rows at 0, two at a: m = 4 a^2 / 6, MMD^2 = 5 + 5 - 2 sum exp(-3 / (4 alpha)), whatever a is."""
    source, target = torch.zeros(2, 1), torch.full((2, 1), size)
    expected = 10 - 2 * sum(math.exp(-0.75 / alpha) for alpha in (0.125, 0.25, 0.5, 1.0, 2.0))
    assert float(mmd_loss(source, target)) == pytest.approx(expected, rel=1e-5)


def mmd_in_numpy(source, target):
    """Pair by pair."""
    pooled = np.concatenate([source, target])
    count = len(pooled)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    spread = np.mean([((pooled[i] - pooled[j]) ** 2).sum() for i, j in pairs])

    def kernel(x, y):
        return sum(np.exp(-((x - y) ** 2).sum() / (2 * 2.0**k * spread)) for k in (-3, -2, -1, 0, 1))

    def within(side):
        return np.mean([kernel(x, y) for i, x in enumerate(side) for j, y in enumerate(side) if i != j])

    return within(source) + within(target) - 2 * np.mean([kernel(x, y) for x in source for y in target])


@pytest.mark.parametrize(("n", "m"), [(6, 6), (4, 9), (2, 2)])
def test_mmd_is_the_unbiased_estimate_pair_by_pair(n, m):
    source, target = rows(n), rows(m, shift=0.7)
    assert float(mmd_loss(source, target)) == pytest.approx(mmd_in_numpy(source.numpy(), target.numpy()), rel=1e-9)


def test_mmd_is_what_an_index_matrix_over_all_pairs_gives():
    """The way of the reference library: weights on the (2B, 2B) kernel matrix, zero on the diagonal of each block."""
    source, target = rows(5), rows(5, shift=1.0)
    pooled = torch.cat([source, target])
    distances = torch.cdist(pooled, pooled).square()
    mean = distances.mean() * 10 / 9  # of different pairs
    kernel = sum(torch.exp(-distances / (2 * 2.0**k * mean)) for k in range(-3, 2))
    index = torch.full((10, 10), 1 / (5 * 4), dtype=torch.double)
    index[:5, 5:] = index[5:, :5] = -1 / 25
    index.fill_diagonal_(0)
    assert float(mmd_loss(source, target)) == pytest.approx(float((kernel * index).sum()), rel=1e-9)


def test_mmd_of_one_distribution_is_zero_on_average_and_of_two_is_not():
    same = [float(mmd_loss(rows(8), rows(8))) for _ in range(400)]
    other = [float(mmd_loss(rows(8), rows(8, shift=0.5))) for _ in range(400)]
    error = np.std(same) / 20
    assert abs(np.mean(same)) < 4 * error
    assert min(same) < 0
    assert np.mean(other) > 10 * error


def test_mmd_of_equal_rows_is_a_number_with_a_gradient():
    source = torch.ones(3, 4, requires_grad=True)
    loss = mmd_loss(source, torch.ones(3, 4))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert bool(source.grad.isfinite().all())


@pytest.mark.parametrize(("done", "factor"), [(0.0, 0.0), (0.1, 0.46211716), (0.5, 0.98661430), (1.0, 0.99990920)])
def test_the_reversal_factor_by_hand(done, factor):
    """Twice the logistic function of 10 p, minus 1, which is tanh(5 p)."""
    assert reversal_factor(done) == pytest.approx(factor, abs=1e-8)
    assert reversal_factor(done) == pytest.approx(math.tanh(5 * done), abs=1e-12)
    assert reversal_factor(done, low=0.2, high=0.6) == pytest.approx(0.2 + 0.4 * math.tanh(5 * done), abs=1e-12)


def test_gradient_reversal_is_the_identity_with_a_negative_gradient():
    features = torch.tensor([[1.0, -2.0]], requires_grad=True)
    out = reverse_gradient(features, 0.3)
    assert torch.equal(out, features)
    (out * torch.tensor([[5.0, 7.0]])).sum().backward()
    assert features.grad.tolist() == [[pytest.approx(-1.5), pytest.approx(-2.1)]]


def batch(source, target, done=0.5):
    return DomainBatch(source.float(), target.float(), torch.zeros(len(target), 2), done)


def test_dann_is_the_log_loss_of_the_discriminator_with_domains_alike():
    source, target = rows(4), rows(9)
    loss = DomainAdversary(5, seed=3)
    probability = loss.discriminator(torch.cat([source, target]).float()).sigmoid().detach().numpy()[:, 0]
    weight = np.r_[np.full(4, 1 / 4), np.full(9, 1 / 9)]
    expected = log_loss([1] * 4 + [0] * 9, probability.astype(float), sample_weight=weight)
    assert float(loss(batch(source, target)).detach()) == pytest.approx(expected, rel=1e-5)


def test_dann_sends_the_features_the_other_way_and_the_discriminator_its_own():
    source, target = rows(6).float(), rows(6, shift=1.0).float()
    loss = DomainAdversary(5, seed=0)
    plain = source.clone().requires_grad_()
    values = loss.discriminator(plain), loss.discriminator(target)
    straight = -(values[0].sigmoid().log().mean() + (1 - values[1].sigmoid()).log().mean()) / 2
    parameters = list(loss.parameters())
    *own, towards = torch.autograd.grad(straight, [*parameters, plain])
    turned = source.clone().requires_grad_()
    loss(batch(turned, target, done=0.1)).backward()
    assert torch.allclose(turned.grad, -0.46211716 * towards, atol=1e-6)
    assert all(torch.allclose(p.grad, g, atol=1e-6) for p, g in zip(parameters, own, strict=True))


def test_dann_draws_its_weights_from_its_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two, other = (DomainAdversary(5, seed).discriminator[0].weight for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_mcc_of_even_predictions_is_a_half_and_of_sure_ones_nothing():
    assert float(mcc_loss(torch.zeros(6, 2))) == pytest.approx(0.5)
    assert float(mcc_loss(torch.zeros(6, 5))) == pytest.approx(0.8)  # (L - 1) / L
    assert float(mcc_loss(200 * torch.eye(4))) == pytest.approx(0, abs=1e-6)


def test_mcc_of_predictions_that_underflow_is_a_number():
    logits = torch.tensor([[1000.0, 0.0], [1200.0, 0.0]], requires_grad=True)
    loss = mcc_loss(logits)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(logits.grad.isfinite().all())


def mcc_in_numpy(logits, temperature=2.5, weight_of=None):
    def softmax(z):
        return np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)

    p, q = softmax(logits), softmax(logits if weight_of is None else weight_of)
    certainty = 1 + np.exp((q * np.log(q)).sum(axis=1))
    weight = np.diag(certainty / certainty.mean())
    confusion = p.T @ weight @ p
    confusion /= confusion.sum(axis=1, keepdims=True)
    return (confusion - np.diag(np.diag(confusion))).sum(axis=1).mean()


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_mcc_is_the_papers_formula_in_numpy(classes):
    logits = rows(9, features=classes, scale=3.0)
    assert float(mcc_loss(logits)) == pytest.approx(mcc_in_numpy(logits.numpy()), rel=1e-9)


def test_mcc_has_no_gradient_through_its_weights():
    logits = rows(4, features=3, scale=3.0).requires_grad_()
    mcc_loss(logits).backward()
    fixed = logits.detach().numpy()
    for i, c in ((0, 0), (1, 2), (3, 1)):
        step = np.zeros_like(fixed)
        step[i, c] = 1e-6
        above, below = (mcc_in_numpy(fixed + s * step, weight_of=fixed) for s in (1, -1))
        assert float(logits.grad[i, c]) == pytest.approx((above - below) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["coral", "dan", "dann"])
def test_following_a_loss_brings_shifted_features_back(name):
    """The target is the source moved and stretched; a gain and an offset on it must learn to undo that."""
    torch.manual_seed(0)
    gain, offset = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    loss = LOSSES[name](3, 0)
    optimizer = torch.optim.Adam([gain, offset, *loss.parameters()], lr=0.01)
    for step in range(500):
        source, target = torch.randn(64, 3), 2.5 * torch.randn(64, 3) + 1
        optimizer.zero_grad()
        loss(DomainBatch(source, target * gain + offset, torch.zeros(64, 2), step / 500)).backward()
        optimizer.step()
    assert float((2.5 * gain.detach() - 1).abs().mean()) < (0.5 if name == "dann" else 0.1)  # 1.5 at the start
    if name != "coral":  # which does not see means
        assert float((gain + offset).detach().abs().mean()) < (0.3 if name == "dann" else 0.1)  # 1 at the start
