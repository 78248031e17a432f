import pytest
import torch

from models.backbones import build_backbone
from models.errors import WeightsNotFoundError
from models.weights import load_weights
from pipeline.learn.backbone_candidates import available_backbones
from tests.pipeline.learn.weights_folder import WeightsFolder

SHUFFLENET, HUB_FILE = "shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache; a download fails the test."""

    def no_download(*_args, **_kwargs):
        pytest.fail("tried to download")

    folder = tmp_path / "hub"
    (folder / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_download)
    return folder / "checkpoints"


@pytest.fixture
def weights(tmp_path, hub):
    return WeightsFolder(tmp_path / "weights")


def test_nothing_here_is_an_empty_list_and_nothing_is_downloaded(hub, weights):
    assert available_backbones(None) == []
    assert available_backbones(weights.folder) == []


def test_manifest_and_hub_cache_are_both_searched(hub, weights, monkeypatch):
    file = weights.add(SHUFFLENET)
    file.rename(hub / HUB_FILE)
    monkeypatch.setattr("models.weights.sha256_of", lambda _path: "f707e712" + "0" * 56)
    assert [one.backbone for one in available_backbones(None)] == [SHUFFLENET]
    weights.entries.clear()
    weights.add("squeezenet1_1", sha256="f707e712")
    found = available_backbones(weights.folder)
    assert [(one.backbone, one.file.origin, one.reason) for one in found] == [
        (SHUFFLENET, "torchvision ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1", ""),
        ("squeezenet1_1", "manifest squeezenet1_1-file.pth", ""),
    ]


def test_partial_files_are_cut_where_they_end(weights):
    weights.add("resnet18", drop=("layer4.", "fc."))
    weights.add(SHUFFLENET, drop=("stage4.", "conv5.", "fc."))
    assert [one.backbone for one in available_backbones(weights.folder)] == ["resnet18@layer3", f"{SHUFFLENET}@stage3"]


def test_joined_stages_are_those_that_the_file_covers(weights):
    weights.add("resnet18", drop=("layer4.", "fc."))
    weights.add(SHUFFLENET)
    found = available_backbones(weights.folder, joined=True)
    assert [one.backbone for one in found] == ["resnet18@layer1+layer2+layer3", f"{SHUFFLENET}@all"]
    for candidate in found:
        load_weights(build_backbone(candidate.backbone), candidate.file)


def test_the_variant_goes_with_the_cut(weights):
    weights.add("resnet50", drop=("layer3.", "layer4.", "fc."), variant="v1")
    (candidate,) = available_backbones(weights.folder)
    assert (candidate.backbone, candidate.file.variant) == ("resnet50@layer2", "v1")
    backbone = build_backbone(candidate.backbone)
    load_weights(backbone, candidate.file)
    assert backbone.variant == "v1"


def test_what_cannot_be_used_stays_in_the_list_with_its_reason(weights):
    weights.add(SHUFFLENET, sha256="0" * 64)
    weights.add("squeezenet1_1").unlink()
    weights.add("mobilenet_v3_small", drop=("features.0.",))
    weights.entries.append({"backbone": "no_such_net", "file": "squeezenet1_1-file.pth", "sha256": ""})
    (weights.folder / "squeezenet1_0-file.pth").write_bytes(b"no zip")
    weights.entries.append({"backbone": "squeezenet1_0", "file": "squeezenet1_0-file.pth", "sha256": ""})
    weights.write()
    found = {one.backbone: one for one in available_backbones(weights.folder)}
    assert all(one.file is None for one in found.values())
    assert "SHA-256 begins" in found[SHUFFLENET].reason
    assert found["squeezenet1_1"].reason == "named by weights.json, but the file is not there"
    assert "no weights for stem" in found["mobilenet_v3_small"].reason
    assert found["no_such_net"].reason
    assert found["squeezenet1_0"].reason.endswith("holds more than tensors, refused")
    assert not any(str(weights.folder) in one.reason for one in found.values())


def test_a_manifest_that_cannot_be_read_is_an_error(weights):
    (weights.folder / "weights.json").write_text('{"weights": [{"file": "a.pth"}]}')
    with pytest.raises(WeightsNotFoundError, match="no readable manifest"):
        available_backbones(weights.folder)
    with pytest.raises(WeightsNotFoundError, match="no readable manifest"):
        available_backbones(weights.folder / "nowhere")
