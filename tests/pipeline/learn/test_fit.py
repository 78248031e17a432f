"""The training loop: seeded, resumable, and honest when it goes wrong."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from models.classifier import FeatureNorm
from models.strategies import STRATEGIES
from models.strategies.phase import Phase, group_names
from pipeline.errors import DivergedError, PipelineError, TrainingError
from pipeline.learn import fit as module
from pipeline.learn import parts, steps
from pipeline.learn.batches import iterate
from pipeline.learn.checkpoint import Progress
from pipeline.learn.features import extract
from pipeline.learn.fit import macro_auroc
from pipeline.learn.objective import loss_sum
from pipeline.learn.pretraining_progress import Pretraining
from pipeline.learn.sets import UnlabelledSet
from pipeline.learn.validation import Figures
from pipeline.watch import Watch

CPU = torch.device("cpu")


def full(classifier, **changes):
    return [Phase("full", group_names(classifier), **changes)]


def run(made, phases=None, watch=None):
    history = made.fit(watch).run(phases or full(made.classifier))
    return made.state(), history


def same(one, other):
    return all(torch.equal(one[key], value) for key, value in other.items())


class Killed(BaseException):
    """What a scheduler does to a run."""


def killer(epochs):
    """A watch that kills the run within the epoch after `epochs` done ones."""

    def bar(title, _total):
        def step(_count):
            if title.endswith(f"epoch {epochs + 1}"):
                raise Killed

        return step

    return Watch(bar=bar)


def test_the_probe_is_scikit_learns_logistic_regression(bench):
    """Three classes, balanced weights, C = 1 / (lambda n); the counts differ, so that the weights matter."""
    made = bench(classes=3, train=20, val=6)
    labels = [0] * 10 + [1] * 6 + [2] * 4
    made.train = dataclasses.replace(made.train, targets=torch.eye(3)[labels])
    phase = Phase("probe", ("head",), cached=True, optimizer="lbfgs", weight_decay=0.05, epochs=1)
    run(made, [phase])
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    features = made.classifier.norm(bags.features[:, 0]).numpy().astype(np.float64)
    reference = LogisticRegression(C=1 / (0.05 * 20), class_weight="balanced", tol=1e-10, max_iter=10_000)
    reference.fit(features, labels)
    found = made.classifier.head.weight.detach().numpy()
    assert np.abs(reference.coef_).max() > 0.01
    np.testing.assert_allclose(found, reference.coef_, atol=1e-3)
    intercept = made.classifier.head.bias.detach().numpy()
    np.testing.assert_allclose(intercept - intercept.mean(), reference.intercept_, atol=1e-3)


def test_the_norm_has_the_training_features_statistics(bench):
    made = bench(slices=3)
    run(made, [Phase("probe", ("head",), cached=True, optimizer="lbfgs", weight_decay=1.0, epochs=1)])
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    expected = FeatureNorm([bags.features.shape[2]])
    expected.fit(bags.features[bags.mask])
    torch.testing.assert_close(made.classifier.norm.mean, expected.mean)
    torch.testing.assert_close(made.classifier.norm.std, expected.std)


def test_seeded_runs_are_equal_and_another_seed_is_not(bench):
    one, other = run(bench("one")), run(bench("other"))
    assert same(one[0], other[0])
    assert one[1] == other[1]
    assert not same(one[0], run(bench("seed", seed=1))[0])


@pytest.mark.parametrize("backbone", ["efficientnet_b0"])
def test_stochastic_depth_is_seeded_too_and_the_global_generator_left_alone(bench, backbone):
    states = []
    for n in (1, 2):
        torch.manual_seed(n)
        before = torch.get_rng_state()
        made = bench(str(n), backbone=backbone, train=8, val=4, epochs=1)
        assert any(type(m).__name__ == "StochasticDepth" and m.p > 0 for m in made.classifier.modules())
        states.append(run(made)[0])
        assert torch.equal(torch.get_rng_state(), before)
    assert same(*states)


@pytest.mark.parametrize("done", [1, 2])
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(bench, done):
    undisturbed = run(bench("whole", epochs=3))
    made = bench("killed", epochs=3)
    with pytest.raises(Killed):
        run(made, watch=killer(done))
    fresh = bench("killed", epochs=3)
    epochs = []
    resumed = run(fresh, watch=Watch(note=epochs.append))
    assert len(epochs) == 3 - done
    assert same(resumed[0], undisturbed[0])
    assert resumed[1] == undisturbed[1]


def test_a_run_killed_between_probe_and_fine_tuning_goes_on(bench):
    """All of LP-FT; the kill comes in the first fine-tuning epoch."""
    whole = bench("whole", epochs=1)
    undisturbed = run(whole, STRATEGIES["lp_ft"](whole.classifier))
    made = bench("killed", epochs=1)
    with pytest.raises(Killed):
        run(made, STRATEGIES["lp_ft"](made.classifier), killer(0))
    fresh = bench("killed", epochs=1)
    resumed = run(fresh, STRATEGIES["lp_ft"](fresh.classifier))
    assert same(resumed[0], undisturbed[0])
    assert resumed[1] == undisturbed[1]


def test_patience_survives_a_kill(bench, monkeypatch):
    """Validation never gets better after the first epoch: with patience 2 the run ends with its third."""
    losses = iter([0.1, 0.5, 0.6, 0.7, 0.8, 0.9])
    monkeypatch.setattr(module.Fit, "_validate", lambda self, phase: Figures(next(losses), 0.5, 0.0))
    with pytest.raises(Killed):
        run(bench(epochs=6, patience=2), watch=killer(2))
    _, history = run(bench(epochs=6, patience=2))
    assert [row.epoch for row in history] == [1, 2, 3]


def test_the_best_epoch_is_kept_not_the_last(bench, monkeypatch):
    made = bench(epochs=3)
    states, losses = [], iter([0.5, 0.1, 0.9])

    def validate(self, phase):
        states.append(made.state())
        return Figures(next(losses), 0.5, 0.0)

    monkeypatch.setattr(module.Fit, "_validate", validate)
    state, _ = run(made)
    assert same(state, states[1])
    assert not same(state, states[2])
    assert not made.classifier.training


def test_more_epochs_learn_the_training_set(bench):
    made = bench(epochs=8, train=16, augment=False)
    _, history = run(made)
    assert history[-1].train_loss < 0.6 * history[0].train_loss


def test_a_batch_larger_than_the_data_set_still_learns(bench):
    """Six scans in a batch of 64 for one epoch: the only step must not have a rate of zero."""
    made = bench(train=6, batch_size=64, epochs=1)
    before = made.state()
    state, _ = run(made)
    assert not torch.equal(state["head.weight"], before["head.weight"])


def test_every_step_has_the_rate_of_its_middle(bench, monkeypatch):
    """Ten scans in batches of four are three steps an epoch: 1/12, 3/12, ... of two epochs."""
    asked = []
    monkeypatch.setattr(steps, "set_rate", lambda optimizer, done, schedule: asked.append(done))
    run(bench(train=10, batch_size=4, epochs=2))
    assert asked == pytest.approx([n / 12 for n in (1, 3, 5, 7, 9, 11)])


@pytest.mark.parametrize("slices", [1, 3])
def test_parts_of_a_step_give_the_whole_batchs_gradient(bench, monkeypatch, slices):
    gradients = []
    for size in (1000, 2):
        made = bench(str(size), slices=slices, train=5)
        monkeypatch.setattr(parts, "MICRO_SLICES", size)
        torch.nn.init.normal_(made.classifier.head.weight, generator=torch.Generator().manual_seed(0))
        made.classifier.eval()
        fit = made.fit().steps
        bags = next(iterate(made.train.store, made.train.contents, range(5), 5))
        total, divisor = fit.backward(bags.slices, bags)
        logits = made.classifier(bags.slices, bags.mask)
        expected, whole = loss_sum(logits, made.train.targets, fit.weights, "multiclass")
        assert (total, divisor) == (pytest.approx(float(expected.detach()), rel=1e-4), pytest.approx(float(whole)))
        gradients.append([p.grad.clone() for p in made.classifier.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_from_the_start_is_an_error(bench):
    made = bench()
    with torch.no_grad():
        made.classifier.head.bias.fill_(float("nan"))
    with pytest.raises(
        TrainingError, match="phase full, epoch 1, step 1: the loss is not a number; lower the learning rate"
    ):
        run(made)


def test_weights_that_explode_within_an_epoch_are_an_error(bench):
    """The training loss is finite, the validation loss after the last step is not."""
    made = bench(train=4, batch_size=4, epochs=1)
    with pytest.raises(TrainingError, match="phase full, epoch 1, validation: a logit is not a number"):
        run(made, full(made.classifier, learning_rate=1e20))


def test_a_loss_that_is_no_number_later_ends_the_phase_at_its_best_and_says_where(bench, monkeypatch):
    """The second epoch's second step fails; the note is in the checkpoint, too."""
    made, good = bench(epochs=4), []
    real = steps.Steps.backward
    calls = []

    def fifth_fails(self, slices, bags):
        calls.append(len(bags.index))
        if len(calls) == 5:
            with torch.no_grad():
                self.classifier.head.weight.fill_(float("nan"))
        return real(self, slices, bags)

    monkeypatch.setattr(steps.Steps, "backward", fifth_fails)
    noted = []
    fit = made.fit(Watch(note=lambda text: (noted.append(text), good.append(made.state()))))
    history = fit.run(full(made.classifier))
    assert len(calls) == 5
    assert same(made.state(), good[0])
    assert len(history) == 1
    where = "phase full, epoch 2, step 2: the loss is not a number"
    note = f"{where}; the phase ended there and the best state before it was kept"
    assert fit.notes == [note]
    assert noted[-1] == note
    resumed = made.fit()
    assert resumed.run(full(made.classifier)) == history
    assert resumed.notes == [note]


def test_the_phases_after_a_diverged_one_start_from_the_last_good_state(bench, monkeypatch):
    made, starts = bench(epochs=1), []

    def diverge(self, epoch, optimizer):
        starts.append(made.state())
        if epoch.phase.name == "bad":
            with torch.no_grad():
                self.classifier.head.weight.fill_(float("nan"))
            raise DivergedError("step 1: the loss is not a number")
        return 0.5

    monkeypatch.setattr(steps.Steps, "one_epoch", diverge)
    groups = group_names(made.classifier)
    made.fit().run([Phase("good", groups), Phase("bad", groups), Phase("after", groups)])
    assert same(starts[2], starts[1])


def path(losses, monkeypatch, made):
    """Runs the probe's phases with made-up validation losses; returns the names of those that were trained."""
    given = iter(losses)
    monkeypatch.setattr(module.Fit, "_validate", lambda self, phase: Figures(next(given), 0.5, 0.01))
    history = made.fit().run(STRATEGIES["linear_probe"](made.classifier))
    return [row.phase for row in history]


@pytest.mark.parametrize(
    ("losses", "count"),
    [
        ((0.9, 0.8, 0.7, 0.71, 0.72, 0.1, 0.1, 0.1), 5),  # two rises in a row
        ((0.9, 0.8, 0.7, 0.71, 0.69, 0.70, 0.71, 0.1), 7),  # one rise, then lower again
        ((0.90, 0.899, 0.898, 0.897, 0.896, 0.895, 0.894, 0.893), 8),  # a slow fall within the noise goes on
        ((0.5, 0.6, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1), 3),  # the first is best
    ],
)
def test_the_path_of_penalties_ends_after_two_rises_in_a_row(bench, monkeypatch, losses, count):
    names = [phase.name for phase in STRATEGIES["linear_probe"](bench().classifier)]
    assert path(losses, monkeypatch, bench()) == names[:count]


@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_the_end_of_the_path_changes_no_convex_heads_choice(bench, monkeypatch, seed):
    """Overlapping classes, so that weak penalties overfit; beside it the whole path."""
    results = []
    for name, ends in (("short", None), ("whole", lambda self: False)):
        if ends:
            monkeypatch.setattr("pipeline.learn.checkpoint.Progress.path_ends", ends)
        made = bench(name, train=40, val=40, seed=seed)
        flipped = torch.rand(40, generator=torch.Generator().manual_seed(seed)) < 0.3
        targets = torch.where(flipped[:, None], 1 - made.train.targets, made.train.targets)
        made.train = dataclasses.replace(made.train, targets=targets)
        results.append(run(made, STRATEGIES["linear_probe"](made.classifier)))
    assert same(results[0][0], results[1][0])
    assert len(results[0][1]) < len(results[1][1]) == 8


def pretraining(made, monkeypatch, calls):
    """Stands in for `pretrain`: moves the stem, leaves a file, and notes something."""

    def pretrain(classifier, unlabelled, *, phase, config, device, watch, checkpoint):
        calls.append((unlabelled, phase, checkpoint))
        with torch.no_grad():
            next(classifier.backbone.stages["stem"].parameters()).mul_(1.5)
        checkpoint.save(classifier, Progress())
        return Pretraining(notes=["phase self, epoch 2, the representation collapsed"])

    monkeypatch.setattr(module, "pretrain", pretrain)
    probe = STRATEGIES["linear_probe"](made.classifier)[0]
    return [Phase("self", group_names(made.classifier)[:-1], objective="self_supervised"), probe]


@pytest.mark.parametrize("before", [False, True])
def test_features_and_their_norm_are_computed_anew_after_a_self_supervised_phase(bench, monkeypatch, before):
    made, calls = bench(), []
    phases = pretraining(made, monkeypatch, calls)
    fit = made.fit()
    history = fit.run([phases[1], *phases] if before else phases)
    ((unlabelled, phase, checkpoint),) = calls
    assert unlabelled.contents == made.train.contents
    assert phase is phases[0]
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    assert torch.equal(fit.frozen.both()[0].features, bags.features)
    expected = FeatureNorm([bags.features.shape[2]])
    expected.fit(bags.features[bags.mask])
    torch.testing.assert_close(made.classifier.norm.mean, expected.mean)
    torch.testing.assert_close(made.classifier.norm.std, expected.std)
    assert [row.phase for row in history] == ["probe 3"] * (1 + before)
    assert fit.notes == ["phase self, epoch 2, the representation collapsed"]
    assert not checkpoint.path.exists()


def test_a_self_supervised_phase_learns_from_the_target_where_there_is_one(bench, monkeypatch):
    made, calls = bench(), []
    phases = pretraining(made, monkeypatch, calls)
    target = UnlabelledSet(made.val.store, made.val.contents)
    fit = made.fit()
    fit.target = target
    fit.run(phases)
    assert calls[0][0] is target


def test_a_run_killed_after_pretraining_does_not_do_it_again(bench, monkeypatch):
    made, calls = bench(), []
    phases = [*pretraining(made, monkeypatch, calls), *full(made.classifier)]
    with pytest.raises(Killed):
        run(made, phases, killer(0))
    made = bench()
    run(made, phases)
    assert len(calls) == 1


def test_macro_auroc_is_the_mean_of_the_classes_that_can_be_measured():
    probability = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    targets = torch.eye(3)[[0, 1, 0, 1]]  # nobody of the third class
    first, second = roc_auc_score([1, 0, 1, 0], probability[:, 0]), roc_auc_score([0, 1, 0, 1], probability[:, 1])
    assert macro_auroc(probability, targets) == pytest.approx((first + second) / 2)
    assert macro_auroc(probability, torch.eye(3)[[0, 0, 0, 0]]) == 0.5


def test_the_error_is_one_of_pipelines():
    assert issubclass(TrainingError, PipelineError)
    assert issubclass(TrainingError, ArithmeticError)
