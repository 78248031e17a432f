"""The network of a plan: what a strategy and `auto` make of backbone, pooling, phases and weights."""

import pytest
import torch

from models.errors import WeightsNotFoundError
from models.strategies import STRATEGIES
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.learn.features import backbone_digest
from pipeline.learn.network import aligning_phase, build_network, stand_in, weights_folder
from pipeline.prepare.samples import Preparation
from tests.pipeline.learn.weights_folder import WeightsFolder

SMALL, MAPPED = "shufflenet_v2_x0_5", "squeezenet1_1"
PICTURE = Preparation(kind="radiograph", modality="CR/DX", image_size=64, slices=1, intensity="auto")
VOLUME = Preparation(kind="volume", modality="CT", image_size=64, slices=4, intensity="auto")


@pytest.fixture(autouse=True)
def _nothing_beside_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("SCANSHIFT_WEIGHTS", raising=False)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    folder = WeightsFolder(tmp_path / "weights")
    monkeypatch.setenv("SCANSHIFT_WEIGHTS", str(folder.folder))
    return folder


def network(preparation=PICTURE, *, name=SMALL, **fields):
    asked = {"weights": "none", "strategy": "linear_probe", "image_size": 64}
    return build_network(name, 3, preparation, Config(**(asked | fields)))


@pytest.mark.parametrize("preparation", [PICTURE, VOLUME])
def test_a_ladder_sees_all_stages_and_the_mean_of_the_slices(preparation):
    classifier, phases, _ = network(preparation, strategy="auto")
    assert len(classifier.backbone.widths) > 1
    assert classifier.backbone.name == f"{SMALL}@all"
    assert phases == ()
    assert classifier.top_groups() == ("head",)
    again, _, _ = network(preparation, name=f"{SMALL}@all", strategy="auto")
    assert again.backbone.widths == classifier.backbone.widths


def test_a_strategy_pools_volumes_by_attention():
    assert network(VOLUME)[0].top_groups() == ("pooling", "head")
    assert network(PICTURE)[0].top_groups() == ("head",)


@pytest.mark.parametrize(
    ("strategy", "align", "names"),
    [
        ("linear_probe", "none", ["probe"]),
        ("linear_probe", "adabn", ["probe"]),
        ("linear_probe", "coral", ["probe", "align"]),
        ("full", "coral", None),
    ],
)
def test_a_probe_is_followed_by_a_phase_in_which_features_can_be_aligned(strategy, align, names):
    classifier, phases, _ = network(strategy=strategy, align=align)
    plain = [phase.name for phase in STRATEGIES[strategy](classifier)]
    found = [phase.name for phase in phases]
    assert found == ([*plain, "align"] if names and names[-1] == "align" else plain)


def test_the_aligning_phase_trains_the_backbone_slowly_and_the_head_at_full_rate():
    classifier, _, _ = network()
    phase = aligning_phase(classifier)
    assert set(phase.groups) == {name for name, _ in classifier.layer_groups()}
    assert set(phase.rates.values()) == {0.1}
    assert set(phase.groups) - set(phase.rates) == {"head"}


def test_too_small_images_are_told_what_they_need():
    with pytest.raises(ConfigError, match="image_size 64: inception_v3 needs at least 75"):
        network(name="inception_v3")


def test_weights_of_the_folder_are_loaded_and_named_by_their_digest(weights):
    weights.add(SMALL, seed=3)
    classifier, _, origin = network(weights="imagenet")
    assert origin["sha256"] == weights.entries[0]["sha256"]
    assert backbone_digest(classifier) != backbone_digest(network()[0])
    assert network(weights="none")[2] == {"origin": "random", "sha256": ""}


def test_the_folder_is_what_the_environment_names(weights):
    assert weights_folder() == weights.folder


def test_until_scans_are_prepared_some_network_with_weights_stands_in(weights):
    weights.add(MAPPED)
    assert stand_in() == MAPPED


def test_backbone_auto_without_weights_is_an_error():
    assert weights_folder() is None
    with pytest.raises(WeightsNotFoundError, match="backbone auto: no weights are on this machine"):
        stand_in()
