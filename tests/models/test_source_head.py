import pytest
import torch

from models.backbones import build_backbone
from models.errors import WeightsMismatchError
from models.families import ARCHITECTURES
from models.source_head import HEADS, SourceNetwork, source_head
from models.state_names import on_meta
from models.weights import WeightsFile, find_weights, load_weights

FAMILIES = (
    "resnet18",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "shufflenet_v2_x0_5",
    "googlenet",
    "convnext_tiny",
    "squeezenet1_1",
    "vgg11",
)


@pytest.fixture
def saved(tmp_path):
    """Torchvision's network with random weights, and its state dict as a file."""

    def write(name, *, drop=(), **changes):
        architecture = ARCHITECTURES[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = architecture.builder(weights=None, **architecture.options).eval()
        state = {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(drop))}
        torch.save(state | changes, tmp_path / f"{name}.pth")
        return model, WeightsFile(tmp_path / f"{name}.pth", "", "file")

    yield write
    for file in tmp_path.glob("*.pth"):
        file.unlink()  # VGG's is half a gigabyte


def loaded(name, file):
    backbone = build_backbone(name, seed=1)
    load_weights(backbone, file)
    return backbone.eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_probabilities_are_those_of_torchvisions_whole_network(saved, name):
    model, file = saved(name)
    backbone = loaded(name, file)
    head, reason = source_head(backbone, file)
    assert reason == ""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images).softmax(dim=1)
        found = SourceNetwork(backbone, head).eval()(images)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
        assert SourceNetwork(backbone, head).num_features == found.shape[1] == 1000
        if head.of == "features":
            torch.testing.assert_close(head(backbone(images)), expected, rtol=1e-4, atol=1e-7)


def test_every_architecture_has_its_head():
    for name in ARCHITECTURES:
        model = on_meta(name)
        top, _ = HEADS[type(model)](model)
        assert [p.shape for p in top.parameters()][-1] == (1000,), name


def test_a_file_without_classifier_is_told(saved):
    _, file = saved("shufflenet_v2_x0_5", drop=("fc.",))
    assert source_head(loaded("shufflenet_v2_x0_5", file), file) == (None, "the weights file holds no classifier")


def test_a_classifier_of_another_task_is_told(saved):
    _, file = saved("shufflenet_v2_x0_5", **{"fc.weight": torch.zeros(5, 1024), "fc.bias": torch.zeros(5)})
    head, reason = source_head(loaded("shufflenet_v2_x0_5", file), file)
    assert head is None
    assert "another shape" in reason


def test_a_cut_network_has_no_head(saved):
    _, file = saved("shufflenet_v2_x0_5")
    head, reason = source_head(loaded("shufflenet_v2_x0_5@stage3", file), file)
    assert head is None
    assert reason == "the network is cut after stage3"


def test_joined_stages_have_the_head_of_their_top(saved):
    model, file = saved("shufflenet_v2_x0_5")
    backbone = loaded("shufflenet_v2_x0_5@all", file)
    head, _ = source_head(backbone, file)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images).softmax(dim=1)
        torch.testing.assert_close(SourceNetwork(backbone, head).eval()(images), expected, rtol=1e-4, atol=1e-7)
        top = backbone(images)[:, -backbone.widths[-1] :]
        torch.testing.assert_close(head(top), expected, rtol=1e-4, atol=1e-7)


def test_an_altered_file_is_refused(saved):
    _, file = saved("shufflenet_v2_x0_5")
    backbone = loaded("shufflenet_v2_x0_5", file)
    with pytest.raises(WeightsMismatchError):
        source_head(backbone, WeightsFile(file.path, "0" * 64, "file"))


def test_the_global_generator_is_left_as_it_was(saved):
    _, file = saved("shufflenet_v2_x0_5")
    backbone = loaded("shufflenet_v2_x0_5", file)
    before = torch.get_rng_state()
    source_head(backbone, file)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "there"), [("mobilenet_v2", True), ("squeezenet1_0", True), ("densenet169", False)])
def test_the_shared_files_have_a_head_or_not_as_their_manifest_says(shared_weights, name, there):
    file = find_weights(name, "imagenet", folder=shared_weights, download=False)
    head, reason = source_head(loaded(name, file), file)
    assert (head is not None) == there
    assert (reason == "") == there
