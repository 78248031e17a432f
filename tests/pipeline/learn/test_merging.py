"""Averages with the probe and of several runs: which weights, which statistics, and when one is kept."""

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from models.strategies import STRATEGIES
from models.strategies.phase import Phase, group_names
from pipeline.errors import DivergedError, TrainingError
from pipeline.learn import fit as fit_module
from pipeline.learn import steps
from pipeline.learn.batches import load_bags
from pipeline.learn.checkpoint import Progress, rank
from pipeline.learn.merging import Merging
from pipeline.learn.validation import Figures
from pipeline.watch import Watch

CPU = torch.device("cpu")


def shifted(made, by):
    """The classifier's state with every parameter moved."""
    names = {name for name, _ in made.classifier.named_parameters()}
    return {key: value + by if key in names else value.clone() for key, value in made.state().items()}


def merging(made, *aurocs):
    """A merging whose validation figures are made up, in order."""
    given = iter(aurocs)
    return Merging(
        made.classifier, made.train, made.config, CPU, lambda: Figures(loss=0.5, auroc=next(given), error=0.0)
    )


def is_shifted(made, found, start, by):
    names = {name for name, _ in made.classifier.named_parameters()}
    return all(torch.allclose(found[key], start[key] + by if key in names else start[key], atol=1e-5) for key in start)


def test_the_point_between_probe_and_fine_tuning(bench):
    made = bench()
    start = made.state()
    progress = Progress(best=(rank(0.8, 0.5), shifted(made, 1.0)), probe=(rank(0.9, 0.5), start))
    phase = Phase("tune", (), merge="interpolate", merge_share=0.25)
    note = merging(made, 0.7).merge(phase, progress)
    assert is_shifted(made, progress.best[1], start, 0.25)
    assert progress.best[0] == rank(0.7, 0.5)
    assert is_shifted(made, made.state(), start, 0.25)
    assert note == (
        "phase tune: weights 0.25 of the way from the probe to the fine-tuned ones; "
        "validation AUROC 0.700 (probe 0.900, fine-tuned 0.800)"
    )


def test_without_a_good_epoch_the_probe_is_the_result(bench):
    made = bench()
    progress = Progress(probe=(rank(0.9, 0.5), made.state()))
    note = merging(made).merge(Phase("tune", (), merge="interpolate"), progress)
    assert progress.best is progress.probe
    assert note == "phase tune: nothing to average with the probe, which is the result"


def test_an_average_that_is_no_number_is_not_taken(bench):
    made = bench()
    tuned = (rank(0.8, 0.5), shifted(made, 1.0))
    progress = Progress(best=tuned, probe=(rank(0.9, 0.5), made.state()))

    def measure():
        raise DivergedError("validation: a logit is not a number")

    note = Merging(made.classifier, made.train, made.config, CPU, measure).merge(
        Phase("tune", (), merge="interpolate"), progress
    )
    assert progress.best is tuned
    assert "is not a number" in note


def test_without_a_probe_there_is_nothing_to_merge_with(bench):
    with pytest.raises(TrainingError, match="phase tune: no probe before it"):
        merging(bench()).merge(Phase("tune", (), merge="interpolate"), Progress())


@pytest.mark.parametrize(
    ("alone", "together", "by", "count", "words"),
    [
        (0.85, 0.90, 2.0, 3, "joins the average, now of 3"),  # (0 + 0 + 6) / 3
        (0.85, 0.80, 6.0, 1, "takes the average's place"),  # no worse than before, but than the run alone
        (0.70, 0.80, 2.0, 3, "joins the average, now of 3"),  # validates no worse
        (0.70, 0.79, 0.0, 2, "left out of the average"),
        (0.95, 0.90, 6.0, 1, "takes the average's place"),
    ],
)
def test_a_run_joins_the_soup_if_that_validates_no_worse(bench, alone, together, by, count, words):
    """A soup of two at 0.8 and a run whose weights lie 6 away."""
    made = bench()
    start = made.state()
    progress = Progress(
        best=(rank(alone, 0.5), shifted(made, 6.0)),
        probe=(rank(0.5, 0.5), start),
        soup=(rank(0.8, 0.5), start),
        in_soup=2,
    )
    note = merging(made, together).merge(Phase("run", (), merge="soup"), progress)
    assert words in note
    assert progress.in_soup == count
    assert is_shifted(made, progress.soup[1], start, by)
    assert progress.best is progress.soup


def test_the_probe_is_the_first_in_the_soup_and_a_failed_run_adds_nothing(bench):
    """At 0.9 it stands against a run at 0.8 whose average with it validates at 0.85."""
    made = bench()
    start = made.state()
    phase = Phase("run", (), merge="soup")
    progress = Progress(probe=(rank(0.9, 0.5), start))
    merging(made).merge(phase, progress)
    assert progress.best is progress.soup is progress.probe
    progress.best = (rank(0.8, 0.5), shifted(made, 6.0))
    merging(made, 0.85).merge(phase, progress)
    assert progress.best is progress.probe
    made.classifier.load_state_dict(start)
    progress.best = (rank(0.8, 0.5), shifted(made, 6.0))
    merging(made, 0.95).merge(phase, progress)
    assert progress.in_soup == 2
    assert is_shifted(made, progress.best[1], start, 3.0)


def test_trained_statistics_are_recomputed_on_training_scans_and_frozen_ones_are_not(bench):
    made = bench(train=12)
    start = made.state()
    for norm in ("eval", "train"):
        made.classifier.load_state_dict(start)
        progress = Progress(best=(rank(0.8, 0.5), shifted(made, 0.01)), probe=(rank(0.9, 0.5), start))
        merging(made, 0.7).merge(Phase("tune", (), merge="interpolate", batch_norm=norm), progress)
        found = progress.best[1]
        layers = [name for name, m in made.classifier.named_modules() if isinstance(m, _BatchNorm)]
        same = [torch.equal(found[f"{name}.running_mean"], start[f"{name}.running_mean"]) for name in layers]
        assert all(same) if norm == "eval" else not any(same)
    # the first convolution's batch norm, by hand: all twelve images are one batch
    made.classifier.load_state_dict(found)
    bags = load_bags(made.train.store, made.train.contents, range(12))
    stem = made.classifier.backbone.stages["stem"]
    convolution = next(m for m in stem.modules() if isinstance(m, torch.nn.Conv2d))
    with torch.no_grad():
        maps = convolution(made.classifier.normalise(bags.slices[:, 0])).numpy()
    name = next(name for name in layers if ".stem." in name)
    np.testing.assert_allclose(found[f"{name}.running_mean"], maps.mean(axis=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(found[f"{name}.running_var"], maps.var(axis=(0, 2, 3), ddof=1), rtol=1e-3)


def test_wise_ft_ends_halfway_between_the_probe_and_the_best_epoch(bench):
    made = bench(epochs=2)
    *probe, tune = STRATEGIES["wise_ft"](made.classifier)
    fit = made.fit()
    kept = {}
    real = Merging.merge

    def watched(self, phase, progress):
        kept["probe"], kept["tuned"] = progress.probe[1], progress.best[1]
        return real(self, phase, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Merging, "merge", watched)
        fit.run([probe[0], tune])
    state, names = made.state(), {name for name, _ in made.classifier.named_parameters()}
    moved = 0
    for name in names:
        torch.testing.assert_close(state[name], (kept["probe"][name] + kept["tuned"][name]) / 2, rtol=1e-5, atol=1e-7)
        moved += not torch.equal(kept["probe"][name], kept["tuned"][name])
    assert moved > 10
    assert len(fit.notes) == 1


def test_every_run_of_a_soup_starts_from_the_probe_and_differs(bench, monkeypatch):
    made, starts, ends = bench(epochs=1), [], []
    real = steps.Steps.one_epoch

    def watched(self, epoch, optimizer):
        starts.append(made.state())
        loss = real(self, epoch, optimizer)
        ends.append(made.state())
        return loss

    monkeypatch.setattr(steps.Steps, "one_epoch", watched)
    phases = STRATEGIES["greedy_soup"](made.classifier)
    fit = made.fit()
    fit.run([*phases[:2], *phases[-4:]])
    assert len(starts) == 4
    for state in starts[1:]:
        assert all(torch.equal(state[key], value) for key, value in starts[0].items())
    weights = [end["backbone.stages.stem.0.0.weight"] for end in ends]
    assert len({tuple(weight.flatten()[:20].tolist()) for weight in weights}) == 4
    assert len(fit.notes) == 4


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("strategy", "title"), [("wise_ft", "fine-tune"), ("greedy_soup", "soup 3")])
def test_a_killed_run_goes_on_with_what_it_needs_for_the_average(bench, strategy, title):
    results = []
    for name in ("whole", "killed"):
        made = bench(name, epochs=2, train=8, val=4)
        phases = STRATEGIES[strategy](made.classifier)
        phases = [phase for phase in phases if not phase.cached or phase.name == "probe 3"][:5]
        if name == "killed":

            def bar(shown, _total):
                def tell(_count):
                    if shown == f"{title}, epoch 2":
                        raise Killed

                return tell

            with pytest.raises(Killed):
                made.fit(Watch(bar=bar)).run(phases)
            made = bench(name, epochs=2, train=8, val=4)
        fit = made.fit()
        history = fit.run(phases)
        results.append((made.state(), history, fit.notes))
    assert results[0][1:] == results[1][1:]
    assert all(torch.equal(results[0][0][key], value) for key, value in results[1][0].items())


def test_a_run_that_diverges_is_left_out_of_the_soup_and_told(bench, monkeypatch):
    made = bench(epochs=1)
    real = steps.Steps.one_epoch

    def second_diverges(self, epoch, optimizer):
        if epoch.phase.name == "soup 2":
            raise DivergedError("step 1: the loss is not a number")
        return real(self, epoch, optimizer)

    monkeypatch.setattr(steps.Steps, "one_epoch", second_diverges)
    phases = STRATEGIES["greedy_soup"](made.classifier)
    fit = made.fit()
    history = fit.run([*phases[:2], *phases[-4:]])
    assert [row.phase for row in history] == ["probe 3", "soup 1", "soup 3", "soup 4"]
    assert fit.notes[1].startswith("phase soup 2, epoch 1, step 1: the loss is not a number; ")
    assert fit.notes[2] == "phase soup 2: nothing to add to the average of probe and runs"


def test_a_soup_is_measured_in_evaluation_mode_on_the_validation_set(bench, monkeypatch):
    """What is kept validates as the loop says it does."""
    made = bench(epochs=1)
    phases = STRATEGIES["greedy_soup"](made.classifier)
    kept = {}
    real = Merging.merge

    def watched(self, phase, progress):
        note = real(self, phase, progress)
        kept["rank"] = progress.best[0]
        return note

    monkeypatch.setattr(Merging, "merge", watched)
    fit = made.fit()
    fit.run([*phases[:2], *phases[-4:]])
    figures = fit._validate(Phase("x", group_names(made.classifier)))
    assert rank(figures.auroc, figures.loss) == pytest.approx(kept["rank"])
    assert fit_module.Merging is Merging
