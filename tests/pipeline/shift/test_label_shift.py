import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pipeline.errors import ShiftError
from pipeline.shift.label_shift import bbse, fit_bcts, mlls, prevalence_shift, reweighted


def sample(n, shares, seed, classes=None):
    """Logits that are exact log-posteriors under equal shares, and truth."""
    rng = np.random.default_rng([seed, 5])
    k = len(shares)
    y = rng.choice(k, size=n, p=shares) if classes is None else classes
    x = 1.8 * np.eye(k)[y] + rng.normal(size=(n, k))
    return 1.8 * x, np.eye(k)[y]


def test_one_em_step_worked_by_hand():
    # s = (1/2, 1/2), q = s at the start: posteriors are p itself, so q becomes its mean: (0.8 + 0.6 + 0.1) / 3 = 0.5.
    p = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    assert mlls(p, np.array([0.5, 0.5]), max_steps=1).share == pytest.approx([0.5, 0.5])
    # s = (0.2, 0.8) and q = (0.4, 0.6): weights 2 and 0.75. Scan 1: 1.6 / (1.6 + 0.15), and so on.
    posterior = reweighted(p, np.array([0.2, 0.8]), np.array([0.4, 0.6]))
    assert posterior[:, 0] == pytest.approx([1.6 / 1.75, 1.2 / 1.5, 0.2 / 0.875])
    # two steps from s = (0.2, 0.8): the first gives q = (0.5, 0.5), the second weights 2.5 and 0.625.
    second = mlls(p, np.array([0.2, 0.8]), max_steps=2).share
    assert second[0] == pytest.approx((2 / 2.125 + 1.5 / 1.75 + 0.25 / 0.8125) / 3)


def test_em_reaches_the_maximum_of_the_likelihood_that_an_optimiser_finds():
    logits, _ = sample(400, [0.15, 0.25, 0.6], 1)
    prior = np.array([0.5, 0.3, 0.2])
    p = torch.tensor(logits + np.log(prior)).softmax(1).numpy()

    def loss(free):
        q = np.exp(np.append(free, 0))
        return -np.log(p @ (q / q.sum() / prior)).mean()

    best = np.exp(
        np.append(minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}).x, 0)
    )
    found = mlls(p, prior, tolerance=1e-10)
    assert found.converged
    assert found.share == pytest.approx(best / best.sum(), abs=1e-5)


def test_em_counts_a_scan_as_often_as_its_weight():
    p = np.array([[0.8, 0.2], [0.3, 0.7]])
    prior = np.array([0.5, 0.5])
    twice = mlls(np.vstack([p, p[1:]]), prior).share
    assert mlls(p, prior, counts=np.array([1.0, 2.0])).share == pytest.approx(twice)


def test_bcts_agrees_with_an_optimiser_of_torch():
    logits, truth = sample(300, [0.5, 0.2, 0.3], 2)
    found = fit_bcts(3 * logits, truth)
    z, y = torch.tensor(3 * logits), torch.tensor(truth).argmax(1)
    log_t, bias = (
        torch.zeros(1, dtype=torch.float64, requires_grad=True),
        torch.zeros(3, dtype=torch.float64, requires_grad=True),
    )
    optimiser = torch.optim.LBFGS([log_t, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / log_t.exp() + bias, y)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert found.temperature == pytest.approx(log_t.exp().item(), rel=1e-3)
    assert found.bias == pytest.approx((bias - bias.mean()).detach().numpy(), abs=1e-3)
    assert found.temperature == pytest.approx(3, rel=0.2)


def test_bcts_counts_a_scan_as_often_as_its_weight():
    logits, truth = sample(100, [0.5, 0.5], 3)
    counts = np.random.default_rng(0).integers(0, 3, 100).astype(float)
    rows = np.repeat(np.arange(100), counts.astype(int))
    weighted, repeated = fit_bcts(logits, truth, weights=counts), fit_bcts(logits[rows], truth[rows])
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=1e-3)
    assert weighted.bias == pytest.approx(repeated.bias, abs=1e-3)


def test_bcts_stays_finite_on_logits_that_separate_perfectly():
    truth = np.eye(2)[[0, 1] * 20]
    found = fit_bcts(10 * truth, truth)
    assert 0.049 < found.temperature < 1
    assert np.isfinite(found.probability(10 * truth)).all()


def test_calibration_refuses_what_it_cannot_calibrate():
    with pytest.raises(ShiftError, match="class 1 has no reference scan"):
        fit_bcts(np.zeros((3, 2)), np.eye(2)[[0, 0, 0]])
    with pytest.raises(ShiftError, match="exactly one class"):
        fit_bcts(np.zeros((2, 2)), np.ones((2, 2)))


def test_bbse_worked_by_hand():
    # Source: 6 of 8 of class 0 and 1 of 2 of class 1 predicted as 0. C = [[.6, .1], [.2, .1]], mu = (.3, .7).
    # C^-1 = 25 [[.1, -.1], [-.2, .6]]; C^-1 mu = (-1, 9), clipped (0, 9), so every share goes to class 1.
    truth = np.eye(2)[[0] * 8 + [1] * 2]
    source = np.eye(2)[[0] * 6 + [1] * 2 + [0, 1]]
    found = bbse(source, truth, np.eye(2)[[0] * 3 + [1] * 7])
    assert found.weights == pytest.approx([0, 9])
    assert found.share == pytest.approx([0, 1])
    # mu = (.6, .4): w = 25 (.02, .12) = (.5, 3), times s = (.8, .2): (.4, .6).
    assert bbse(source, truth, np.eye(2)[[0] * 6 + [1] * 4]).share == pytest.approx([0.4, 0.6])
    assert found.condition == pytest.approx(np.linalg.cond([[0.6, 0.1], [0.2, 0.1]]))


def test_bbse_says_when_the_confusion_cannot_be_inverted():
    always_first = np.array([[0.9, 0.1]] * 4)
    found = bbse(always_first, np.eye(2)[[0, 0, 1, 1]], always_first)
    assert found.share is None
    assert found.condition == float("inf")


def test_known_shares_are_recovered_within_their_intervals():
    hits, detected = 0, 0
    for seed in range(20):
        source, truth = sample(500, [0.4, 0.3, 0.3], seed)
        target, _ = sample(300, [0.1, 0.2, 0.7], seed + 100)
        found = prevalence_shift(2 * source, truth, 2 * target, seed=seed, resamples=50)
        hits += sum(v.low <= q <= v.high for v, q in zip(found.target, [0.1, 0.2, 0.7], strict=True))
        detected += found.detected
        assert [v.value for v in found.target] == pytest.approx([0.1, 0.2, 0.7], abs=0.15)
        assert found.black_box == pytest.approx([0.1, 0.2, 0.7], abs=0.2)
    assert detected == 20
    assert hits >= 49  # of 60; 57 are nominal, a few fewer with 50 resamples


def test_equal_shares_are_rarely_called_a_shift_where_patients_repeat(side):
    alarms = 0
    for seed in range(40):
        one, other = side(200, seed=seed, name="a"), side(120, seed=seed + 1000, name="b")
        found = prevalence_shift(
            one.logits, one.truth, other.logits,
            seed=seed, source_patients=one.patients, target_patients=other.patients, resamples=30,
        )  # fmt: skip
        alarms += found.detected
    assert alarms <= 6  # 2 of 40 are nominal; more than 6 has a chance below 1 %


def test_another_look_of_the_classes_is_told_from_another_mix(side):
    one = side(500, name="a")
    mix, look = side(300, share=0.15, seed=1, name="b"), side(300, tilt=4.0, seed=2, name="c")
    assert prevalence_shift(one.logits, one.truth, mix.logits, seed=0, resamples=40).mixture.fits
    assert not prevalence_shift(one.logits, one.truth, look.logits, seed=0, resamples=40).mixture.fits


def test_sides_that_cannot_be_compared_are_refused():
    with pytest.raises(ShiftError, match="shapes"):
        prevalence_shift(np.zeros((3, 2)), np.eye(2)[[0, 1, 0]], np.zeros((3, 3)), seed=0)
    with pytest.raises(ShiftError, match="both sides need scans"):
        prevalence_shift(np.zeros((3, 2)), np.eye(2)[[0, 1, 0]], np.zeros((0, 2)), seed=0)
    with pytest.raises(ShiftError, match="most resamples miss it"):
        prevalence_shift(
            np.random.default_rng(0).normal(size=(20, 3)), np.eye(3)[[0] * 18 + [1, 2]], np.zeros((5, 3)),
            seed=0, resamples=40,
        )  # fmt: skip
