"""Continued pretraining learns, does not collapse, reads no labels, resumes, and leaves off safely."""

import copy
import math

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.continued_pretraining import continued_pretraining
from models.strategies.linear_probe import linear_probe
from pipeline.config import Config
from pipeline.errors import TrainingError
from pipeline.learn import self_supervised as module
from pipeline.learn.checkpoint import Checkpoint
from pipeline.learn.fit import Fit, LabelledSet
from pipeline.learn.self_supervised import batch_of, pretrain
from pipeline.learn.sets import UnlabelledSet
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import LEVELS, Preparation
from pipeline.watch import Watch

SIDE = 64
BACKBONE = "shufflenet_v2_x0_5"
CPU = torch.device("cpu")


@pytest.fixture
def scans(tmp_path):
    """Smooth made-up scans, each with its own stripes and blob."""

    def build(count=24, *, slices=1):
        kind = ("volume", "CT") if slices > 1 else ("radiograph", "CR/DX")
        preparation = Preparation(kind=kind[0], modality=kind[1], image_size=SIDE, slices=slices, intensity="auto")
        store = SampleStore(tmp_path / "cache", preparation)
        rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
        rng = np.random.default_rng(0)
        for n in range(count):
            stack = []
            for _ in range(slices):
                pitch, angle, place = rng.uniform(2, 10), rng.uniform(0, math.pi), rng.uniform(0.3, 0.7, 2)
                stripes = 0.3 + 0.2 * np.sin(2 * math.pi * pitch * (rows * math.cos(angle) + columns * math.sin(angle)))
                blob = 0.4 * np.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / 0.01)
                stack.append((stripes + blob).clip(0, 1))
            path = store.path(str(n))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.rint(np.stack(stack)[:, None] * LEVELS).astype(np.uint16))
        return UnlabelledSet(store, tuple(map(str, range(count))))

    return build


def build(backbone=BACKBONE, pooling="mean"):
    return SliceBagClassifier(build_backbone(backbone, seed=0), 2, pooling=pooling)


def state_of(classifier):
    return {key: value.clone() for key, value in classifier.state_dict().items()}


def config(**fields):
    return Config(**({"epochs": 2, "batch_size": 8, "precision": "float32", "learning_rate": 1e-3} | fields))


@pytest.fixture
def learn(tmp_path):
    """Runs the strategy's first phase."""

    def run(classifier, unlabelled, *, name="a", settings=None, watch=None):
        phase = continued_pretraining(classifier)[0]
        return pretrain(
            classifier,
            unlabelled,
            phase=phase,
            config=settings or config(),
            device=CPU,
            watch=watch or Watch(),
            checkpoint=Checkpoint(tmp_path / f"{name}.pt"),
        )

    return run


@pytest.mark.parametrize("backbone", ["resnet18@layer1", "squeezenet1_1"])
def test_the_loss_falls_and_the_representation_does_not_collapse(backbone, scans, learn):
    """With batch norm and without."""
    classifier = build(backbone)
    before = state_of(classifier)
    found = learn(classifier, scans(32), settings=config(epochs=6, batch_size=16))
    losses = [loss for loss, _, _ in found.history]
    assert found.epoch == 6
    assert found.notes == []
    assert losses[-1] < losses[0] - 0.2
    assert all(projections > 0.5 and features > 0.2 for _, projections, features in found.history)
    changed = {key for key, value in classifier.state_dict().items() if not torch.equal(value, before[key])}
    assert {key for key, _ in classifier.backbone.named_parameters(prefix="backbone")} <= changed
    assert all(key.startswith("backbone.") for key in changed)
    assert not classifier.training


def test_volumes_are_learned_from_slice_by_slice(scans, learn):
    titles = []
    watch = Watch(bar=lambda title, total: titles.append((title, total)) or (lambda steps: None))
    found = learn(build(pooling="attention"), scans(5, slices=6), settings=config(epochs=1), watch=watch)
    assert titles == [("self-supervised, epoch 1", 16)]  # 5 volumes of 4 draws, two whole batches
    assert math.isfinite(found.history[0][0])


class KilledError(Exception):
    """Stands for the end of the process."""


def killing(word):
    """A bar that ends the process where its title holds a word."""

    def bar(title, _total):
        if word in title:
            raise KilledError
        return lambda steps: None

    return bar


def test_a_killed_run_ends_with_the_same_weights(scans, learn):
    unlabelled, settings = scans(16), config(epochs=3)
    whole, killed = build(), build()
    expected = learn(whole, unlabelled, name="whole", settings=settings)

    with pytest.raises(KilledError):
        learn(killed, unlabelled, settings=settings, watch=Watch(bar=killing("epoch 3")))
    resumed = build()
    found = learn(resumed, unlabelled, settings=settings)
    assert found == expected
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    again = build()  # a run that has ended is not run again
    assert learn(again, unlabelled, settings=settings, watch=Watch(bar=killing("epoch"))) == expected
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whole.state_dict().items())


def test_the_seed_decides_and_the_global_generator_is_left_alone(scans, learn):
    before = torch.get_rng_state()
    losses = [
        learn(build(), scans(12), name=name, settings=config(epochs=1, seed=seed)).history[0][0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def spoilt(monkeypatch):
    """Makes the n-th loss of a run something else."""

    def spoil(number, change):
        real, calls = module.simsiam_loss, []

        def loss(first, second):
            calls.append(1)
            found = real(first, second)
            return change(found) if len(calls) == number else found

        monkeypatch.setattr(module, "simsiam_loss", loss)

    return spoil


def test_a_loss_that_is_no_number_ends_with_the_last_good_state(scans, learn, spoilt):
    unlabelled = scans(16)  # two steps an epoch
    reference = build()
    with pytest.raises(KilledError):  # the state after the first of three epochs
        learn(reference, unlabelled, name="r", settings=config(epochs=3), watch=Watch(bar=killing("epoch 2")))
    spoilt(4, lambda loss: loss * math.nan)
    classifier, told = build(), []
    found = learn(classifier, unlabelled, settings=config(epochs=3), watch=Watch(note=told.append))
    (note,) = found.notes
    assert note == (
        "phase self-supervised, epoch 2, step 2: the loss is not a number; the phase ended there with the state "
        "before that epoch"
    )
    assert told[-1] == note
    assert len(found.history) == 1
    for key, value in reference.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[key]), key


def test_a_gradient_that_is_no_number_in_the_last_step_is_seen_too(scans, learn, spoilt):
    spoilt(2, lambda loss: loss + (loss - loss.detach()) * math.inf * 0)  # NaN
    classifier = build()
    before = state_of(classifier)
    found = learn(classifier, scans(16), settings=config(epochs=1))
    assert "step 2" in found.notes[0]
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


def test_a_weight_that_is_no_number_is_seen_at_the_epochs_end(scans, learn, monkeypatch):
    classifier = build()
    before = state_of(classifier)
    real = module._Run._step

    def step(self, slices, generator):
        row = real(self, slices, generator)
        next(self.classifier.backbone.parameters()).data[0] = math.inf
        return row

    monkeypatch.setattr(module._Run, "_step", step)
    found = learn(classifier, scans(8), settings=config(epochs=1))
    assert "a weight is not a number" in found.notes[0]
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


@pytest.mark.parametrize("rows", [1, 2])
def test_a_collapse_brings_back_the_state_before_pretraining(rows, scans, learn, monkeypatch):
    """Either spread falls below its bound in the second epoch."""
    real, calls = module.spread, []

    def spread(vectors):
        calls.append(1)
        late = len(calls) > 4  # two steps of two spreads make an epoch
        return torch.tensor(0.01) if late and len(calls) % 2 == rows % 2 else real(vectors)

    monkeypatch.setattr(module, "spread", spread)
    classifier = build()
    before = state_of(classifier)
    found = learn(classifier, scans(16), settings=config(epochs=4))
    assert found.notes == [
        "phase self-supervised, epoch 2, the representation collapsed; the phase ended there with the state before "
        "pretraining"
    ]
    assert len(found.history) == 2
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
    again = build()
    assert learn(again, scans(16), settings=config(epochs=4)) == found
    assert all(torch.equal(value, before[key]) for key, value in again.state_dict().items())


def test_features_that_no_longer_differ_are_seen(scans, learn, monkeypatch):
    """The last layer is made to give one constant, whatever it sees, in the third epoch."""
    classifier = build("squeezenet1_1")
    before = state_of(classifier)
    real = module._Run._step

    def step(self, slices, generator):
        if self.progress.epoch == 2:
            for name, parameter in list(self.classifier.backbone.named_parameters())[-4:]:
                parameter.data.fill_(float(name.endswith("bias")))
        return real(self, slices, generator)

    monkeypatch.setattr(module._Run, "_step", step)
    found = learn(classifier, scans(16), settings=config(epochs=6))
    assert "epoch 3, the representation collapsed" in found.notes[0]
    assert found.history[-1][2] < 0.01
    assert found.history[-2][2] > 0.2
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


def test_labels_are_never_read(scans, tmp_path):
    """The same backbone comes out of two trainings whose labels differ."""
    unlabelled = scans(16)
    train, val = unlabelled.contents[:10], unlabelled.contents[10:]
    backbones = []
    for name, shift in (("a", 0), ("b", 1)):
        classifier = build()
        indicators = torch.eye(2)[[(n // (1 + shift)) % 2 for n in range(16)]]
        fit = Fit(
            classifier,
            train=LabelledSet(unlabelled.store, train, indicators[:10]),
            val=LabelledSet(unlabelled.store, val, indicators[10:]),
            config=config(epochs=1),
            device=CPU,
            checkpoint=Checkpoint(tmp_path / f"fit {name}.pt"),
            watch=Watch(),
            target=unlabelled,
        )
        fit.run([continued_pretraining(classifier)[0], *linear_probe(classifier)])
        backbones.append(copy.deepcopy(classifier.backbone.state_dict()))
        assert classifier.head.weight.abs().sum() > 0
    fresh = build().backbone.state_dict()
    assert all(torch.equal(value, backbones[1][key]) for key, value in backbones[0].items())
    assert not torch.equal(next(iter(fresh.values())), next(iter(backbones[0].values())))


def test_too_few_scans_are_refused(scans, learn):
    with pytest.raises(TrainingError, match="7 unlabelled scans give 7 slices an epoch, expected at least 8"):
        learn(build(), scans(7))
    assert learn(build(), scans(8), settings=config(epochs=1)).epoch == 1


def test_batches_keep_memory_flat_on_a_cpu_and_are_larger_on_a_gpu():
    gpu = torch.device("cuda")
    assert [batch_of(1000, config(batch_size=size), CPU) for size in (1, 8, 16, 64)] == [8, 8, 16, 16]
    assert [batch_of(1000, config(batch_size=size), gpu) for size in (1, 16, 256)] == [64, 64, 256]
    assert batch_of(10, config(batch_size=16), CPU) == batch_of(10, config(), gpu) == 10


def test_the_strategy_pretrains_then_probes_then_fine_tunes():
    classifier = build("squeezenet1_1", "attention")
    first, *others = continued_pretraining(classifier)
    assert first.objective == "self_supervised"
    assert set(first.groups) == {name for name, parameters in classifier.backbone.layer_groups() if parameters}
    assert others[:-1] == linear_probe(classifier)
    assert others[-1].name == "fine-tune"
    assert all(phase.objective == "supervised" for phase in others)
