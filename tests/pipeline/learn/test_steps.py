"""What a phase's fields do to the steps: the pull to the start, groups that join, norms that draw, resuming."""

import dataclasses

import pytest
import torch

from models.strategies import STRATEGIES
from models.strategies.phase import Phase, group_names
from pipeline.learn import fit as module
from pipeline.learn.checkpoint import Progress, rank
from pipeline.learn.features import extract
from pipeline.learn.optimiser import make_optimizer, train_groups
from pipeline.learn.steps import Epoch
from pipeline.learn.validation import Figures
from pipeline.watch import Watch

CPU = torch.device("cpu")


class Killed(BaseException):
    """What a scheduler does to a run."""


def one_step(made, monkeypatch, start=None, **fields):
    """Gradients that the only step of an epoch hands to the optimizer."""
    phase = Phase("x", group_names(made.classifier), **fields)
    train_groups(made.classifier, phase)
    optimizer = make_optimizer(made.classifier, phase, made.config)
    found = {}
    monkeypatch.setattr(
        optimizer,
        "step",
        lambda: found.update({name: p.grad.clone() for name, p in made.classifier.named_parameters()}),
    )
    steps = made.fit().steps
    dataclasses.replace(steps, start=start or {}).one_epoch(Epoch(phase, 0, 0, 1), optimizer)
    return found


def test_an_anchor_adds_its_pull_to_every_steps_gradient(bench, monkeypatch):
    """Pulled to a point 0.5 away: CE's gradient - 0.01 x 0.5; the head to zero: + 0.01 v."""
    made = bench(train=4, batch_size=4)
    torch.nn.init.normal_(made.classifier.head.weight, generator=torch.Generator().manual_seed(0))
    plain = one_step(made, monkeypatch)
    start = {name: p.detach() + 0.5 for name, p in made.classifier.backbone.named_parameters()}
    pulled = one_step(made, monkeypatch, start, anchor=0.01)
    for name, gradient in plain.items():
        if name.startswith("backbone."):
            torch.testing.assert_close(pulled[name], gradient - 0.005, rtol=1e-4, atol=1e-6)
        else:
            weight = dict(made.classifier.named_parameters())[name].detach()
            torch.testing.assert_close(pulled[name], gradient + 0.01 * weight, rtol=1e-4, atol=1e-6)


def test_the_anchor_is_where_the_run_began_also_after_a_resume(bench):
    made = bench(epochs=1)
    fit = made.fit()
    begun = {name: p.detach().clone() for name, p in made.classifier.backbone.named_parameters()}
    fit.run(STRATEGIES["l2_sp"](made.classifier))
    fresh = bench(epochs=1)
    again = fresh.fit()
    again.run(STRATEGIES["l2_sp"](fresh.classifier))
    for steps in (fit.steps, again.steps):
        assert all(torch.equal(steps.start[name], value) for name, value in begun.items())
    now = dict(fresh.classifier.backbone.named_parameters())
    assert any(not torch.equal(now[name], value) for name, value in begun.items())


def test_norms_draw_in_a_stochastic_phase_only(bench, monkeypatch):
    made, results = bench(train=4, batch_size=4, augment="none"), []
    torch.nn.init.normal_(made.classifier.head.weight, generator=torch.Generator().manual_seed(0))
    start = made.state()
    for norm in ("train", "stochastic", "stochastic"):
        made.classifier.load_state_dict(start)
        results.append(one_step(made, monkeypatch, batch_norm=norm))
    train, one, other = results
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.allclose(one[name], train[name], rtol=0.01) for name in one)


def test_lower_stages_wait_for_their_epoch(bench, monkeypatch):
    """Five entries in five epochs: after epoch n the top n - 1 stages have moved."""
    made, moved = bench(epochs=5, patience=9), []
    phase = STRATEGIES["gradual_unfreeze"](made.classifier)[-1]
    before = made.state()

    def validate(self, phase):
        state = made.state()
        names = [name for name, _ in made.classifier.named_parameters() if not torch.equal(state[name], before[name])]
        moved.append({name.split(".")[2] for name in names if name.startswith("backbone.")})
        return Figures(loss=0.5 / len(moved), auroc=0.5, error=0.0)

    monkeypatch.setattr(module.Fit, "_validate", validate)
    made.fit().run([phase])
    assert moved == [
        set(),
        {"stage4"},
        {"stage4", "stage3"},
        {"stage4", "stage3", "stage2"},
        {"stage4", "stage3", "stage2", "stem"},
    ]


def test_patience_counts_from_the_epoch_in_which_all_have_joined(bench, monkeypatch):
    """Nothing is better after the first epoch; all five entries have joined in the fifth, two more are endured."""
    made, losses = bench(epochs=12, patience=2), iter([0.1] + [0.5] * 11)
    monkeypatch.setattr(module.Fit, "_validate", lambda self, phase: Figures(next(losses), 0.5, 0.0))
    history = made.fit().run([STRATEGIES["gradual_unfreeze"](made.classifier)[-1]])
    assert len(history) == 6


@pytest.mark.parametrize("strategy", ["gradual_unfreeze", "auto_rgn", "l2_sp", "stoch_norm"])
def test_a_killed_run_ends_as_an_undisturbed_one(bench, strategy):
    results = []
    for name in ("whole", "killed"):
        made = bench(name, epochs=3)
        last = STRATEGIES[strategy](made.classifier)[-1]
        if name == "killed":

            def bar(title, _total):
                def tell(_count):
                    if title.endswith("epoch 3"):
                        raise Killed

                return tell

            with pytest.raises(Killed):
                made.fit(Watch(bar=bar)).run([last])
            made = bench(name, epochs=3)
        history = made.fit().run([last])
        results.append((made.state(), history))
    assert len(results[0][1]) == 3
    assert results[0][1] == results[1][1]
    assert all(torch.equal(results[0][0][key], value) for key, value in results[1][0].items())


def test_a_probe_after_fine_tuning_sees_the_new_features(bench, monkeypatch):
    made = bench(epochs=1)
    start = made.state()

    def keep_the_last(progress, classifier, auroc, loss, noise=None):
        progress.best = (rank(auroc, loss), {key: value.clone() for key, value in classifier.state_dict().items()})
        return True

    monkeypatch.setattr(Progress, "offer", keep_the_last)
    probe = STRATEGIES["linear_probe"](made.classifier)[0]
    fit = made.fit()
    fit.run([probe, Phase("tune", group_names(made.classifier)), probe])
    state = made.state()
    assert any(not torch.equal(state[key], value) for key, value in start.items() if key.startswith("backbone."))
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    assert torch.equal(fit.frozen.both()[0].features, bags.features)
