"""Each alignment loss in training, with each strategy: the gap between the sites really closes."""

import numpy as np
import pytest
import torch

from models.alignment import LOSSES
from models.alignment.adabn import batch_norms
from models.alignment.coral import coral_loss
from models.alignment.mcc import mcc_loss
from models.alignment.mmd import mmd_loss
from models.classifier import pack
from models.strategies import STRATEGIES
from models.strategies.phase import Phase, backbone_groups, group_names
from pipeline.learn.align import align_statistics, make_term
from pipeline.learn.batches import load_bags
from pipeline.learn.fit import Fit, UnlabelledSet
from pipeline.prepare.samples import LEVELS
from pipeline.watch import Watch

CPU = torch.device("cpu")
SIDE = 64


def make_target(store, count, *, gain=0.8, offset=0.08, seed=5, slices=1):
    """Scans of both classes from a scanner with less contrast and more brightness."""
    rng = np.random.default_rng(seed)
    contents = []
    for n in range(count):
        grey = rng.random((slices, 1, SIDE, SIDE)) / 3
        grey[0, 0, 10 : 10 + 8 * (n % 2), 10 : 10 + 8 * (n % 2)] = 1
        path = store.path(f"target {n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (LEVELS * (gain * grey + offset)).astype(np.uint16))
        contents.append(f"target {n}")
    return UnlabelledSet(store, tuple(contents))


def pooled(classifier, scans):
    """Standardised, pooled features of a set, in evaluation mode."""
    bags = load_bags(scans.store, scans.contents, range(len(scans.contents)))
    with torch.no_grad():
        return classifier.eval().pooled(pack(classifier.features(bags.slices[bags.mask]), bags.mask), bags.mask)


def at_home(made):
    """Random weights with the batch statistics of the training scans, as a pretrained network has sane ones."""
    if batch_norms(made.classifier):
        align_statistics("adabn", made.classifier, made.train.store, made.train.contents, device=CPU, seed=0)
    return made


def phases_of(strategy, classifier):
    """A strategy's phases; a probe alone is followed by an alignment phase."""
    phases = STRATEGIES[strategy](classifier)
    if all(phase.cached for phase in phases):
        rates = dict.fromkeys(backbone_groups(classifier), 0.1)
        phases.append(Phase(name="align", groups=group_names(classifier), rates=rates))
    return phases


def train(made, target, term, phases, monkeypatch):
    """Fit, and keep the last state instead of the one that validates best: the term's work must show."""
    monkeypatch.setattr("pipeline.learn.checkpoint.Progress.best_state", lambda self: made.classifier.state_dict())
    fit = Fit(
        made.classifier,
        train=made.train,
        val=made.val,
        config=made.config,
        device=CPU,
        checkpoint=made.checkpoint,
        watch=Watch(),
        target=target,
        term=term,
    )
    return fit.run(phases)


def gap(name, classifier, source, target):
    """What a loss makes smaller, over all scans: MMD^2 stands for what DANN's discriminator sees."""
    if name == "mcc":
        with torch.no_grad():
            return float(mcc_loss(classifier.head(pooled(classifier, target))))
    measure = coral_loss if name == "coral" else mmd_loss
    return float(measure(pooled(classifier, source), pooled(classifier, target)))


WEIGHTS = {"coral": 30.0, "dan": 1.0, "dann": 3.0, "mcc": 3.0}
SETTINGS = {"train": 16, "val": 6, "batch_size": 8, "epochs": 4, "patience": 4, "augment": "none"}
RATES = {"linear_probe": 1e-3, "lp_ft": 1e-3, "full": 2e-4}


def gaps_with(bench, strategy, monkeypatch, **fields):
    """Loss to its gap after training without it, and after training with it."""
    found = {}
    for name in (None, *LOSSES):
        made = at_home(bench(f"with {name}", **SETTINGS, learning_rate=RATES[strategy], **fields))
        target = make_target(made.train.store, 16, slices=made.train.store.preparation.slices)
        term = make_term(name, made.classifier.backbone.num_features, 2, WEIGHTS[name], 0) if name else None
        history = train(made, target if name else None, term, phases_of(strategy, made.classifier), monkeypatch)
        assert np.isfinite([row.train_loss for row in history]).all()
        for measured in LOSSES if name is None else (name,):
            found.setdefault(measured, []).append(gap(measured, made.classifier, made.train, target))
    return found


@pytest.mark.parametrize("strategy", RATES)
def test_each_loss_closes_the_gap_that_training_without_it_leaves(strategy, bench, monkeypatch):
    for name, (without, aligned) in gaps_with(bench, strategy, monkeypatch).items():
        assert aligned < 0.8 * without, (name, without, aligned)


def test_each_loss_closes_the_gap_of_volumes(bench, monkeypatch):
    """The two sides of a step have 44 slices together, more than go through the network at once."""
    for name, (without, aligned) in gaps_with(bench, "full", monkeypatch, slices=3).items():
        assert aligned < 0.8 * without, (name, without, aligned)


def test_losses_work_without_batch_norm(bench, monkeypatch):
    """The gap of random SqueezeNet features is so wide that DANN and MCC would need more steps than a test has."""
    found = gaps_with(bench, "full", monkeypatch, backbone="squeezenet1_1")
    for name in ("coral", "dan"):
        without, aligned = found[name]
        assert aligned < 0.8 * without, (name, without, aligned)
    assert np.isfinite(list(found.values())).all()
