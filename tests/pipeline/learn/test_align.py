"""The alignment term alone and in training with each strategy, and statistics taken from a target's scans."""

import numpy as np
import pytest
import torch

from models.alignment import LOSSES
from models.alignment.adabn import batch_norms
from models.alignment.coral import coral_loss
from models.alignment.mcc import mcc_loss
from models.alignment.mmd import mmd_loss
from models.classifier import pack
from models.errors import NoBatchNormError, UnknownNameError
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
SETTINGS = {"train": 24, "val": 6, "batch_size": 12, "epochs": 5, "patience": 5, "augment": "none"}
RATES = {"linear_probe": 1e-3, "lp_ft": 1e-3, "full": 2e-4}


def gaps_with(bench, strategy, monkeypatch, **fields):
    """Loss to its gap after training without it, and after training with it."""
    found = {}
    for name in (None, *LOSSES):
        made = at_home(bench(f"with {name}", **SETTINGS, learning_rate=RATES[strategy], **fields))
        target = make_target(made.train.store, 24, slices=made.train.store.preparation.slices)
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
    """The two sides of a step have 36 slices together, more than go through the network at once."""
    for name, (without, aligned) in gaps_with(bench, "full", monkeypatch, slices=2).items():
        assert aligned < 0.8 * without, (name, without, aligned)


def test_losses_work_without_batch_norm(bench, monkeypatch):
    """The gap of random SqueezeNet features is so wide that DANN and MCC would need more steps than a test has."""
    found = gaps_with(bench, "full", monkeypatch, backbone="squeezenet1_1")
    for name in ("coral", "dan"):
        without, aligned = found[name]
        assert aligned < 0.8 * without, (name, without, aligned)
    assert np.isfinite(list(found.values())).all()


def test_a_term_has_the_weight_it_is_given_and_learns_nothing_but_danns_discriminator():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(6, 5, generator=generator), torch.randn(7, 5, generator=generator) + 1
    logits = torch.randn(7, 3, generator=generator)
    for name in LOSSES:
        one, two = (make_term(name, 5, 3, weight, 0) for weight in (1.0, 2.5))
        value = float(one.loss(source, target, logits, 0.5).detach())
        assert float(two.loss(source, target, logits, 0.5).detach()) == pytest.approx(2.5 * value)
        assert bool(one.parameters()) == (name == "dann")
    assert float(make_term("coral", 5, 3, 1.0, 0).loss(source, target, logits, 0).detach()) == pytest.approx(
        float(coral_loss(source, target))
    )


def test_one_row_says_nothing_about_a_distribution():
    feature = torch.randn(1, 5, requires_grad=True)
    many, logits = torch.randn(8, 5), torch.zeros(8, 2)
    for name in ("coral", "dan"):
        value = make_term(name, 5, 2, 1.0, 0).loss(feature, many, logits, 0.5)
        assert float(value.detach()) == 0
        value.backward()
        assert not feature.grad.any()
    assert float(make_term("dann", 5, 2, 1.0, 0).loss(feature, many, logits, 0.5).detach()) > 0


def test_a_terms_state_goes_into_a_checkpoint_and_back():
    one, two = make_term("dann", 5, 2, 1.0, 0), make_term("dann", 5, 2, 1.0, 1)
    assert not torch.equal(one.parameters()[0], two.parameters()[0])
    two.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert make_term("coral", 5, 2, 1.0, 0).state_dict() == {}


def test_an_operation_is_not_a_loss_and_the_other_way_round(bench):
    with pytest.raises(UnknownNameError, match="coral"):
        make_term("adabn", 5, 2, 1.0, 0)
    made = bench()
    with pytest.raises(UnknownNameError, match="adabn"):
        align_statistics("coral", made.classifier, made.train.store, made.train.contents, device=CPU, seed=0)
    with pytest.raises(ValueError, match="1 classes"):
        make_term("coral", 5, 1, 1.0, 0)


def test_adabn_takes_the_targets_statistics_and_warns_of_few_slices(bench):
    made = bench()
    target = make_target(made.train.store, 40)
    (note,) = align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=0)
    assert "only 40 target slices" in note
    first = made.classifier.backbone.stages["stem"][0]
    bags = load_bags(target.store, target.contents, range(40))
    with torch.no_grad():
        maps = first[0](made.classifier.normalise(bags.slices[:, 0])).transpose(0, 1).flatten(1)
    assert torch.allclose(first[1].running_mean, maps.mean(dim=1), atol=1e-4)
    assert torch.allclose(first[1].running_var, maps.var(dim=1), rtol=1e-3)


def test_statistics_do_not_depend_on_the_order_of_the_scans_beyond_the_batches(bench):
    """And 64 slices are enough not to be warned."""
    made = bench()
    target = make_target(made.train.store, 70)
    states = []
    for seed in (0, 1):
        assert align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=seed) == ()
        states.append({key: value.clone() for key, value in made.classifier.state_dict().items()})
    assert all(torch.allclose(states[0][key], value, atol=1e-3) for key, value in states[1].items())


def test_feature_statistics_serve_a_backbone_without_batch_norm(bench):
    made = bench(backbone="squeezenet1_1")
    target = make_target(made.train.store, 30)
    with pytest.raises(NoBatchNormError, match="squeezenet1_1"):
        align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=0)
    align_statistics("feature_statistics", made.classifier, target.store, target.contents, device=CPU, seed=0)
    found = pooled(made.classifier, target)
    assert found.mean(dim=0).abs().max() < 1e-3
    assert float(found.std(dim=0, correction=0).median()) == pytest.approx(1, abs=1e-3)
