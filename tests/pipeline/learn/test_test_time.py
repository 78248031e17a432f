"""Adaptation on the target's scans: what changes, what is refused, and how a collapse is undone bit for bit."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.errors import UnknownNameError
from models.test_time import TEST_TIME
from models.test_time import tent as tent_module
from pipeline.learn import test_time as module
from pipeline.learn.align import align_statistics
from pipeline.learn.batches import load_bags
from pipeline.prepare.samples import LEVELS

CPU = torch.device("cpu")


@dataclass
class Found:
    detected: bool


def make_scans(store, count, *, kinds=2, seed=5):
    """Scans with a bright square whose size goes with its kind, from a scanner with another gain."""
    rng = np.random.default_rng(seed)
    contents = []
    for n in range(count):
        grey = rng.random((store.preparation.slices, 1, 64, 64)) / 3
        grey[:, 0, 10 : 10 + 20 * (n % kinds), 10:30] = 1
        path = store.path(f"target {kinds} {n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (LEVELS * (0.8 * grey + 0.1)).astype(np.uint16))
        contents.append(f"target {kinds} {n}")
    return contents


def trained(bench, **fields):
    """A classifier with sane statistics whose head tells the two kinds of scan apart."""
    made = bench(**fields)
    store, classifier = made.train.store, made.classifier
    contents = make_scans(store, 64)
    if made.classifier.backbone.name != "squeezenet1_1":
        align_statistics("adabn", classifier, store, contents, device=CPU, seed=0)
    align_statistics("feature_statistics", classifier, store, contents, device=CPU, seed=0)
    bags = load_bags(store, contents, range(64))
    with torch.no_grad():
        found = classifier.norm(classifier.eval().features(bags.slices[:, 0]))
        direction = found[1::2].mean(dim=0) - found[::2].mean(dim=0)
        classifier.head.weight.copy_(torch.stack([-direction, direction]) / direction.square().sum())
    return classifier, store


def snapshot(classifier):
    return {key: value.clone() for key, value in classifier.state_dict().items()}


def changed(before, classifier):
    return {key for key, value in classifier.state_dict().items() if not torch.equal(value, before[key])}


def adapt(name, classifier, store, contents, **fields):
    fields = {"device": CPU, "seed": 0, "prevalence": Found(False)} | fields
    return module.adapt_test_time(name, classifier, store, contents, **fields)


def predictions(classifier, store, contents):
    bags = load_bags(store, contents, range(len(contents)))
    with torch.no_grad():
        return classifier.eval()(bags.slices, bags.mask).softmax(dim=1)


def test_tent_makes_predictions_surer_and_changes_scales_shifts_and_statistics(bench):
    classifier, store = trained(bench)
    contents = make_scans(store, 130)
    align_statistics("adabn", classifier, store, contents, device=CPU, seed=0)
    before, old = snapshot(classifier), predictions(classifier, store, contents)
    outcome = adapt("tent", classifier, store, contents, passes=3)
    new = predictions(classifier, store, contents)
    assert outcome.applied
    assert outcome.notes[0].startswith("test-time tent: 6 steps; mean entropy")
    assert float(-(new * new.log()).sum(dim=1).mean()) < float(-(old * old.log()).sum(dim=1).mean()) - 0.005
    parameters = {key for key, _ in classifier.named_parameters()}
    norms = {n for n, m in classifier.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    found = changed(before, classifier)
    assert found & parameters
    assert all(key.rpartition(".")[0] in norms for key in found)
    assert not classifier.training


def test_the_same_seed_gives_the_same_state_and_the_global_generator_is_left_alone(bench):
    states = []
    for seed in (0, 0, 1):
        classifier, store = trained(bench)
        contents = make_scans(store, 130)
        generator = torch.get_rng_state()
        assert adapt("tent", classifier, store, contents, seed=seed).applied
        assert torch.equal(torch.get_rng_state(), generator)
        states.append(snapshot(classifier))
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not all(torch.equal(value, states[2][key]) for key, value in states[0].items())


def test_a_stream_of_one_class_collapses_and_is_undone_bit_for_bit(bench, monkeypatch):
    """Before, all scans of kind 0 are called 0 or 1 by chance; entropy alone makes them all one."""
    classifier, store = trained(bench)
    contents = make_scans(store, 64, kinds=1)
    with torch.no_grad():
        margin = classifier.head.bias.new_tensor([0.0, 0.0])
        logits = predictions(classifier, store, contents).log()
        margin[0] = (logits[:, 1] - logits[:, 0]).median()
        classifier.head.bias.add_(margin)  # half of them on either side
    share = predictions(classifier, store, contents).argmax(dim=1).float().mean()
    assert 0.4 < float(share) < 0.6
    monkeypatch.setattr(tent_module, "RATE", 0.05)
    before = snapshot(classifier)
    outcome = adapt("tent", classifier, store, contents, passes=10)
    assert not outcome.applied
    assert "refused: it collapsed" in outcome.notes[0]
    assert "as it was before" in outcome.notes[0]
    assert not changed(before, classifier)


def test_an_unshuffled_stream_is_refused(bench, monkeypatch):
    classifier, store = trained(bench)
    before = snapshot(classifier)
    monkeypatch.setattr(module, "shuffled_batches", lambda s, c, seed: iter([load_bags(s, c, range(len(c)))]))
    outcome = adapt("tent", classifier, store, make_scans(store, 64))
    assert not outcome.applied
    assert "shuffle" in outcome.notes[0]
    assert not changed(before, classifier)


@pytest.mark.parametrize("name", TEST_TIME)
def test_a_backbone_without_normalisation_is_refused_by_name(name, bench):
    classifier, store = trained(bench, backbone="squeezenet1_1")
    before = snapshot(classifier)
    outcome = adapt(name, classifier, store, make_scans(store, 64))
    assert not outcome.applied
    assert "squeezenet1_1 has no normalisation layer" in outcome.notes[0]
    assert not changed(before, classifier)


@pytest.mark.parametrize(
    ("count", "fields", "words"),
    [
        (64, {"prevalence": Found(True)}, "class mix differs"),
        (64, {"task": "multilabel"}, "no softmax"),
        (19, {}, "19 target scans"),
        (40, {}, "a batch of 40 slices"),
    ],
)
@pytest.mark.parametrize("name", TEST_TIME)
def test_what_would_do_harm_is_refused_and_changes_nothing(name, count, fields, words, bench):
    classifier, store = trained(bench)
    before = snapshot(classifier)
    outcome = adapt(name, classifier, store, make_scans(store, count), **fields)
    assert not outcome.applied
    assert words in outcome.notes[0]
    assert not changed(before, classifier)


def test_sar_says_where_no_prediction_was_sure_enough(bench):
    classifier, store = trained(bench)
    with torch.no_grad():
        classifier.head.weight.mul_(0.01)
    outcome = adapt("sar", classifier, store, make_scans(store, 64))
    assert "in 1 of 1 steps no prediction was sure enough" in outcome.notes[1]


def test_what_could_not_be_tested_is_said(bench):
    classifier, store = trained(bench)
    outcome = adapt("tent", classifier, store, make_scans(store, 64), prevalence=None)
    assert "could not be tested" in outcome.notes[-1]


def test_volumes_are_adapted_in_batches_of_eight_scans(bench):
    classifier, store = trained(bench, slices=9)
    outcome = adapt("tent", classifier, store, make_scans(store, 20))
    assert outcome.applied
    assert "2 steps" in outcome.notes[0]


def test_an_interrupted_adaptation_is_undone(bench, monkeypatch):
    classifier, store = trained(bench)
    before = snapshot(classifier)
    steps = []

    def interrupted(self, features, mask):
        with torch.no_grad():
            self.parameters[0].add_(1)
        steps.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(tent_module.Tent, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapt("tent", classifier, store, make_scans(store, 64))
    assert steps
    assert not changed(before, classifier)


def test_an_unknown_method_is_told_with_the_known_ones(bench):
    made = bench()
    with pytest.raises(UnknownNameError, match="tent"):
        adapt("tentt", made.classifier, made.train.store, [])
