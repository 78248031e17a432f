import sys

import pytest
import torch

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import ModelError, PartialWeightsError
from models.weights import WeightsFile, load_weights

NAMES = ("resnet10t", "mobilenetv3_small_050", "regnetx_002", "efficientnet_lite0", "convnext_atto")


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="timm is not installed: pip install 'scanshift[timm]'")


@pytest.mark.parametrize("name", NAMES)
def test_features_are_timms_own_without_its_classifier(timm, name):
    backbone = build_backbone(f"timm/{name}", seed=1).eval()
    torch.manual_seed(1)
    reference = timm.create_model(name, pretrained=False, num_classes=0).eval()
    reference.load_state_dict(backbone.network.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = backbone(images)
        torch.testing.assert_close(found, reference(images))
        maps = backbone.feature_maps(images)
    assert found.shape == (2, backbone.num_features)
    assert list(maps) == backbone.stage_names
    assert all(stage.ndim == 4 for stage in maps.values())


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_every_parameter_once(timm, name):
    backbone = build_backbone(f"timm/{name}")
    grouped = [id(p) for _, parameters in backbone.layer_groups() for p in parameters]
    assert sorted(grouped) == sorted(id(p) for p in backbone.parameters())
    assert len(backbone.layer_groups()) >= 2


def test_the_big_inceptions_build(timm):
    for name in ("inception_v4", "inception_resnet_v2"):
        with torch.device("meta"):
            backbone = build_backbone(f"timm/{name}")
        assert backbone.num_features == 1536
        assert backbone.min_size >= 75


def test_a_classifier_runs_on_it(timm):
    classifier = SliceBagClassifier(build_backbone("timm/mobilenetv3_small_050"), 2, pooling="mean").eval()
    logits = classifier(torch.rand(2, 1, 1, 64, 64), torch.ones(2, 1, dtype=torch.bool))
    assert logits.shape == (2, 2)


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(timm):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (build_backbone("timm/resnet10t", seed=n).state_dict() for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_weights_under_timms_names_load(timm, tmp_path):
    there = build_backbone("timm/resnet10t", seed=1)
    path = tmp_path / "net.pth"
    torch.save(there.network.state_dict(), path)
    here = build_backbone("timm/resnet10t", seed=2)
    load_weights(here, WeightsFile(path, "", "file net.pth"))
    assert all(torch.equal(here.state_dict()[key], value) for key, value in there.state_dict().items())


def test_partial_weights_are_refused_without_advice_to_cut_what_cannot_be_cut(timm, tmp_path):
    backbone = build_backbone("timm/resnet10t")
    state = {key: value for key, value in backbone.network.state_dict().items() if not key.startswith("layer4")}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(PartialWeightsError) as caught:
        load_weights(backbone, WeightsFile(tmp_path / "net.pth", "", "file net.pth"))
    assert "use backbone" not in str(caught.value)


def test_a_cut_is_refused(timm):
    with pytest.raises(ModelError, match="cannot be cut"):
        build_backbone("timm/resnet10t@layer3")


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'scanshift\[timm\]'"):
        build_backbone("timm/resnet10t")
