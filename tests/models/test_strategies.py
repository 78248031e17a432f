"""Every strategy trains exactly what it says, and nothing else: parameters and running statistics."""

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import NoBatchNormError
from models.registry import lookup
from models.strategies import STRATEGIES
from models.strategies.linear_probe import PENALTIES
from models.strategies.phase import Phase, group_names
from pipeline.config import Config
from pipeline.learn.checkpoint import Checkpoint, Progress, rank
from pipeline.learn.fit import Fit, LabelledSet
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.samples import LEVELS, Preparation
from pipeline.watch import Watch

BACKBONE = "shufflenet_v2_x0_5"
STAGES = {"stem", "stage2", "stage3", "stage4"}
NEED_BATCH_NORM = {"lp_ft_bn", "stoch_norm"}
# strategy -> backbone stages whose parameters change, stages whose running statistics change, whether features are
# standardised by the training set
EXPECTED = {
    "linear_probe": (set(), set(), True),
    "lp_ft": (STAGES, set(), True),
    "full": (STAGES, set(), True),
    "freeze_early": ({"stage3", "stage4"}, set(), True),
    "gradual_unfreeze": (STAGES, set(), True),
    "surgical_first": ({"stem", "stage2"}, set(), True),
    "surgical_middle": ({"stage3"}, set(), True),
    "surgical_last": ({"stage4"}, set(), True),
    "auto_rgn": (STAGES, set(), True),  # but for the parameters of batch norm
    "l2_sp": (STAGES, set(), True),
    "wise_ft": (STAGES, set(), True),
    "greedy_soup": (STAGES, STAGES, True),
    "lp_ft_bn": (STAGES, STAGES, True),
    "stoch_norm": (STAGES, STAGES, True),
    "continued_pretraining": (STAGES, STAGES, True),
    "from_scratch": (STAGES, STAGES, False),
}


def build(pooling, backbone=BACKBONE):
    return SliceBagClassifier(build_backbone(backbone), 2, pooling=pooling)


@pytest.fixture
def sides(tmp_path):
    """Ten bags to train on and six to validate on; class 1 has a bright square."""

    def make(slices):
        kind = ("volume", "CT") if slices > 1 else ("radiograph", "CR/DX")
        store = SampleStore(
            tmp_path / "cache",
            Preparation(kind=kind[0], modality=kind[1], image_size=64, slices=slices, intensity="auto"),
        )
        rng = np.random.default_rng(0)
        made = []
        for side, count in (("train", 10), ("val", 6)):
            contents = tuple(f"{side} {n}" for n in range(count))
            for n, content in enumerate(contents):
                array = rng.integers(0, LEVELS // 3, (slices, 1, 64, 64)).astype(np.uint16)
                array[0, 0, 10:30, 10:30] += np.uint16(n % 2 * LEVELS // 2)
                store.path(content).parent.mkdir(parents=True, exist_ok=True)
                np.save(store.path(content), array)
            made.append(LabelledSet(store, contents, torch.eye(2)[[n % 2 for n in range(count)]]))
        return made

    return make


def changed(before, classifier):
    return {key for key, value in classifier.state_dict().items() if not torch.equal(value, before[key])}


def test_every_strategy_is_expected_here():
    assert set(EXPECTED) == set(STRATEGIES)


def train_all(classifier, name, sides, tmp_path, monkeypatch):
    """Runs a strategy for one epoch a phase; returns what the network was before."""
    train, val = sides
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    # few iterations of the probe, and always the last state, not the best: every phase's work must show
    monkeypatch.setattr("pipeline.learn.optimiser.LBFGS_ITERATIONS", 4)
    monkeypatch.setattr(Progress, "offer", keep_the_last)
    fit = Fit(
        classifier,
        train=train,
        val=val,
        config=Config(epochs=1, batch_size=5, learning_rate=1e-3, precision="float32"),
        device=torch.device("cpu"),
        checkpoint=Checkpoint(tmp_path / "progress.pt"),
        watch=Watch(),
    )
    history = fit.run(lookup("strategy", STRATEGIES, name)(classifier))
    assert all(np.isfinite([row.train_loss, row.val_loss]).all() for row in history)
    assert not classifier.training
    assert set(classifier.state_dict()) == set(before)
    return before


def keep_the_last(progress, classifier, auroc, loss, noise=None):
    progress.best = (rank(auroc, loss), {key: value.clone() for key, value in classifier.state_dict().items()})
    return True


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_changes_exactly_what_it_should(name, pooling, sides, tmp_path, monkeypatch):
    classifier = build(pooling)
    before = train_all(classifier, name, sides(2 if pooling == "attention" else 1), tmp_path, monkeypatch)
    trained, statistics, normed = EXPECTED[name]
    parameters = {key for key, _ in classifier.named_parameters()}
    expected = {"head.weight", "head.bias"}
    if pooling == "attention":
        expected |= {key for key in parameters if key.startswith("pooling.")} - {"pooling.score.bias"}
    for stage in trained:
        expected |= {key for key in parameters if key.startswith(f"backbone.stages.{stage}.")}
    for stage in statistics:
        expected |= {key for key in before if key.startswith(f"backbone.stages.{stage}.") and key not in parameters}
    if normed:
        expected |= {"norm.mean", "norm.std"}
    if name == "auto_rgn":
        expected -= batch_norm_names(classifier)
    found = changed(before, classifier) - {"pooling.score.bias"}  # softmax does not feel it: no gradient but rounding
    assert found == expected


def batch_norm_names(classifier):
    """Names of the parameters and statistics of batch norm."""
    layers = [key for key, module in classifier.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    return {key for key in classifier.state_dict() if key.rpartition(".")[0] in layers}


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - NEED_BATCH_NORM))
def test_a_backbone_without_batch_norm_changes_in_the_same_stages(name, sides, tmp_path, monkeypatch):
    classifier = build("mean", "squeezenet1_1")
    before = train_all(classifier, name, sides(1), tmp_path, monkeypatch)
    stages = classifier.backbone.stage_names
    theirs = {"freeze_early": stages[2:], "linear_probe": []}
    thirds = {"surgical_first": stages[:2], "surgical_middle": stages[2:3], "surgical_last": stages[3:]}
    found = {key.split(".")[2] for key in changed(before, classifier) if key.startswith("backbone.")}
    assert found == set((theirs | thirds).get(name, stages))


@pytest.mark.parametrize("name", sorted(NEED_BATCH_NORM))
def test_a_strategy_of_batch_norm_refuses_a_backbone_without_it(name):
    message = rf"strategy {name}: squeezenet1_1 has no batch norm; take strategy lp_ft, or a backbone .*resnet18"
    with pytest.raises(NoBatchNormError, match=message):
        STRATEGIES[name](build("mean", "squeezenet1_1"))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("backbone", [BACKBONE, "squeezenet1_1", "resnet18@layer2"])
def test_phases_name_groups_that_are_there(name, backbone):
    if backbone == "squeezenet1_1" and name in NEED_BATCH_NORM:
        pytest.skip("refused, which has a test of its own")
    classifier = build("attention", backbone)
    phases = STRATEGIES[name](classifier)
    assert phases
    for phase in phases:
        assert set(phase.groups) <= set(group_names(classifier))
        assert set(phase.rates) <= set(phase.groups)
        unlabelled = phase.objective != "supervised"
        assert {"pooling", "head"} <= set(phase.groups) or name.startswith("surgical") or unlabelled
        assert not phase.cached or set(phase.groups) == {"pooling", "head"}


def test_the_probe_goes_from_a_strong_penalty_to_a_weak_one_on_cached_features():
    phases = STRATEGIES["linear_probe"](build("mean"))
    assert [phase.weight_decay for phase in phases] == sorted(PENALTIES, reverse=True)
    assert all(phase.cached and phase.optimizer == "lbfgs" and phase.epochs == 1 for phase in phases)


def test_lp_ft_is_the_probe_and_then_everything_with_the_backbone_at_a_tenth():
    classifier = build("attention")
    *probe, last = STRATEGIES["lp_ft"](classifier)
    assert probe == STRATEGIES["linear_probe"](classifier)
    assert last.groups == group_names(classifier)
    assert last.rates == dict.fromkeys(STAGES, 0.1)
    assert last.batch_norm == "eval"


def test_full_gives_the_new_layers_ten_times_the_rate():
    (phase,) = STRATEGIES["full"](build("attention"))
    assert phase.rates == {"pooling": 10.0, "head": 10.0}


@pytest.mark.parametrize(
    ("backbone", "trained"),
    [
        ("shufflenet_v2_x0_5", ("stage3", "stage4", "head")),
        ("resnet18", ("layer3", "layer4", "head")),
        ("resnet18@layer3", ("layer2", "layer3", "head")),
    ],
)
def test_freeze_early_trains_the_upper_half(backbone, trained):
    (phase,) = STRATEGIES["freeze_early"](build("mean", backbone))
    assert phase.groups == trained


def test_only_from_scratch_starts_at_random():
    classifier = build("mean")
    starts = {name: strategy(classifier)[0].start for name, strategy in STRATEGIES.items()}
    assert {name for name, start in starts.items() if start == "random"} == {"from_scratch"}
    with_statistics = {name for name in STRATEGIES if STRATEGIES[name](classifier)[-1].batch_norm != "eval"}
    assert with_statistics == {"from_scratch", "greedy_soup", "lp_ft_bn", "stoch_norm"}


def test_a_phase_cannot_be_changed():
    with pytest.raises(AttributeError):
        Phase("x", ()).cached = True
