"""Every backbone is torchvision's own network, cut into stages and less its head."""

import pytest
import torch
from torch import nn
from torchvision import models as tv

from models.backbones import build_backbone, set_variant
from models.errors import ModelError, UnknownNameError
from models.families import ARCHITECTURES, IMAGENET_MEAN, IMAGENET_STD
from models.state_names import source_names

QUIET = {name: {"init_weights": False} for name in ("googlenet", "inception_v3")}  # else torchvision warns
SMALL = ("resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small")


def photograph(size=96, seed=0):
    """A batch of two made-up RGB images in [0, 1]."""
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return images * torch.tensor([1.0, 0.3]).view(2, 1, 1, 1)


def normalised(images, mean, std):
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def vary_batch_norm(model, images):
    """Give batch norm the statistics of some images and scales that are not 1, so that a layer left out shows."""
    generator = torch.Generator().manual_seed(11)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.momentum = None  # a plain average, so one pass is enough
    with torch.no_grad():
        model.train()(images)
    model.eval()


@pytest.fixture(scope="module")
def on_meta():
    """Every backbone without memory for its weights."""
    with torch.device("meta"):
        return {name: build_backbone(name) for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_builds_and_its_groups_hold_every_parameter_once(name, on_meta):
    backbone = on_meta[name]
    grouped = [id(p) for _, parameters in backbone.layer_groups() for p in parameters]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in backbone.parameters()}
    assert [group for group, _ in backbone.layer_groups()] == backbone.stage_names
    assert len(backbone.stage_names) >= 4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_number_of_features_is_what_torchvisions_head_takes(name, on_meta):
    with torch.device("meta"):
        model = tv.get_model(name, weights=None, **QUIET.get(name, {}))
    head = model.fc if hasattr(model, "fc") else model.classifier
    layers = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    expected = layers[0].in_features // 49 if name.startswith("vgg") else None
    expected = expected or getattr(layers[0], "in_features", None) or layers[0].in_channels
    assert on_meta[name].num_features == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_of_torchvisions_tensors_but_the_heads_are_ours(name, on_meta):
    with torch.device("meta"):
        model = tv.get_model(name, weights=None, **QUIET.get(name, {}))
    head = ("fc.", "classifier.", "AuxLogits.", "aux1.", "aux2.")
    theirs = {key for key in model.state_dict() if not key.startswith(head)}
    if name.startswith("convnext"):
        theirs |= {"classifier.0.weight", "classifier.0.bias"}  # the norm after pooling belongs to the features
    table = source_names(on_meta[name])
    assert {key for _, key in table.values()} == theirs
    assert set(table) == set(on_meta[name].state_dict())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stages_never_grow_the_map_and_the_smallest_side_is_accepted(name, on_meta):
    backbone = on_meta[name]
    size = backbone.min_size
    maps = backbone.eval().feature_maps(torch.zeros(1, 3, size, size, device="meta"))
    sides = [size, *(stage.shape[-1] for stage in maps.values())]
    assert sides == sorted(sides, reverse=True)
    assert min(sides) >= 1
    assert list(maps) == backbone.stage_names


@pytest.mark.parametrize("name", SMALL)
def test_stages_in_order_give_forward(name):
    backbone = build_backbone(name, seed=1).eval()
    images = photograph(64)
    with torch.inference_mode():
        x, clean = images, {}
        for stage, module in backbone.stages.items():
            x = module(x)
            clean[stage] = x.clone()  # a copy, so that an in-place step of the next stage would show
        maps = backbone.feature_maps(images)
        torch.testing.assert_close(backbone.pool(x), backbone(images))
        for stage, expected in clean.items():
            torch.testing.assert_close(maps[stage], expected)
        torch.testing.assert_close(backbone.last_map(images), x)
    assert backbone(images).shape == (2, backbone.num_features)


def _drop(attribute):
    def without_head(model):
        setattr(model, attribute, nn.Identity())
        return model

    return without_head


def _pooled_features(model):
    return lambda images: model.features(images).mean(dim=(2, 3))


def _convnext(model):
    model.classifier[2] = nn.Identity()
    return model


HEADLESS = {
    "resnet18": _drop("fc"),
    "densenet121": _drop("classifier"),
    "mobilenet_v2": _drop("classifier"),
    "mobilenet_v3_small": _drop("classifier"),
    "efficientnet_b0": _drop("classifier"),
    "squeezenet1_1": _pooled_features,
    "shufflenet_v2_x0_5": _drop("fc"),
    "convnext_tiny": _convnext,
    "googlenet": _drop("fc"),
    "inception_v3": _drop("fc"),
    "vgg11": _pooled_features,
}


@pytest.mark.parametrize("name", HEADLESS)
def test_pooled_features_are_torchvisions_before_its_classifier(name):
    """Same weights, same photograph in [0, 1], each side with its own normalisation."""
    options = {}
    if name in ("googlenet", "inception_v3"):  # as torchvision builds them for its ImageNet weights
        options = {"aux_logits": False, "init_weights": False, "transform_input": True}
    images = photograph()
    torch.manual_seed(4)
    model = tv.get_model(name, weights=None, **options).eval()
    vary_batch_norm(model, normalised(images, IMAGENET_MEAN, IMAGENET_STD))
    with torch.device("meta"):
        backbone = build_backbone(name)
    state = model.state_dict()
    own = {ours: state[theirs] for ours, (_, theirs) in source_names(backbone).items()}
    backbone.load_state_dict(own, assign=True)
    backbone.eval()
    with torch.inference_mode():
        expected = HEADLESS[name](model)(normalised(images, IMAGENET_MEAN, IMAGENET_STD))
        found = backbone(normalised(images, backbone.mean, backbone.std))
    scale = float(expected.abs().max())
    assert scale > 0
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * scale  # the features say something of the image
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-4 * scale)


def test_a_cut_ends_with_the_map_of_its_stage():
    whole, cut = build_backbone("resnet18", seed=2).eval(), build_backbone("resnet18@layer3", seed=2).eval()
    images = photograph(64)
    with torch.inference_mode():
        expected = whole.feature_maps(images)["layer3"].mean(dim=(2, 3))
        torch.testing.assert_close(cut(images), expected)
    assert (cut.num_features, cut.name, cut.stage_names[-1]) == (256, "resnet18@layer3", "layer3")
    assert not any("layer4" in key for key in cut.state_dict())


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18@layer1+layer3", ["layer1", "layer3"]),
        ("resnet18@all", ["layer1", "layer2", "layer3", "layer4"]),
    ],
)
def test_joined_stages_are_the_pooled_maps_side_by_side(name, stages):
    whole, joined = build_backbone("resnet18", seed=2).eval(), build_backbone(name, seed=2).eval()
    images = photograph(64)
    with torch.inference_mode():
        maps = whole.feature_maps(images)
        torch.testing.assert_close(joined(images), torch.cat([maps[s].mean(dim=(2, 3)) for s in stages], dim=1))
    assert joined.widths == tuple(maps[s].shape[1] for s in stages)
    assert joined.num_features == sum(joined.widths)
    assert joined.stage_names[-1] == stages[-1]


def test_joined_stages_end_with_what_the_neck_makes_of_the_top():
    whole, joined = build_backbone("convnext_tiny", seed=1).eval(), build_backbone("convnext_tiny@all", seed=1).eval()
    images = photograph(64)
    with torch.inference_mode():
        torch.testing.assert_close(joined(images)[:, -joined.widths[-1] :], whole(images))


@pytest.mark.parametrize("name", ["resnet18@layer2+layer1", "resnet18@layer1+layer1"])
def test_joined_stages_are_named_once_and_in_order(name):
    with pytest.raises(ModelError, match="from stem to top"):
        build_backbone(name)


def test_a_cut_below_the_top_has_no_neck_and_one_at_the_top_keeps_it():
    with torch.device("meta"):
        below, top = build_backbone("convnext_tiny@stage2"), build_backbone("convnext_tiny@stage3")
    assert isinstance(below.neck, nn.Identity)
    assert len(top.neck.state_dict()) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet17", "unknown backbone 'resnet17'; did you mean resnet1"),
        ("resnet18@layer9", "unknown stage of resnet18 'layer9'; did you mean layer"),
        ("timm/no_such_net", "no_such_net"),
    ],
)
def test_unknown_names_are_refused_with_what_is_known(name, words):
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed")
    with pytest.raises(UnknownNameError, match=words):
        build_backbone(name)


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, same, other = (build_backbone("squeezenet1_1", seed=n).state_dict() for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_v1_strides_in_the_first_convolution():
    """Against a bottleneck written out by hand: 1x1 stride 2, 3x3, 1x1, shortcut stride 2."""
    backbone = build_backbone("resnet50@layer2", variant="v1")
    vary_batch_norm(backbone, photograph(64))
    block = backbone.stages["layer2"][0]
    x = torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(0))

    def norm(layer, y):
        return (y - layer.running_mean.view(-1, 1, 1)) / (layer.running_var.view(-1, 1, 1) + layer.eps).sqrt() * (
            layer.weight.view(-1, 1, 1)
        ) + layer.bias.view(-1, 1, 1)

    with torch.inference_mode():
        y = norm(block.bn1, nn.functional.conv2d(x[:, :, ::2, ::2], block.conv1.weight)).relu()
        y = norm(block.bn2, nn.functional.conv2d(y, block.conv2.weight, padding=1)).relu()
        y = norm(block.bn3, nn.functional.conv2d(y, block.conv3.weight))
        shortcut = norm(block.downsample[1], nn.functional.conv2d(x[:, :, ::2, ::2], block.downsample[0].weight))
        torch.testing.assert_close(block(x), (y + shortcut).relu(), rtol=1e-4, atol=1e-4)
    assert backbone.variant == "v1"


def test_v1_leaves_the_blocks_that_keep_the_resolution_alone():
    with torch.device("meta"):
        backbone = build_backbone("resnet50", variant="v1")
        plain = build_backbone("resnet50")
    for layer in ("layer2", "layer3", "layer4"):
        assert backbone.stages[layer][0].conv1.stride == (2, 2)
        assert backbone.stages[layer][0].conv2.stride == (1, 1)
        assert plain.stages[layer][0].conv1.stride == (1, 1)
        assert plain.stages[layer][0].conv2.stride == (2, 2)
        assert all(block.conv2.stride == (1, 1) for block in backbone.stages[layer][1:])
    assert backbone.num_features == plain.num_features == 2048


def test_v1_of_a_network_cut_before_the_first_stride_is_the_same_network():
    with torch.device("meta"):
        backbone = build_backbone("resnet50@layer1", variant="v1")
    assert backbone.variant == "v1"
    assert backbone.num_features == 256


@pytest.mark.parametrize(("name", "variant"), [("resnet18", "v1"), ("squeezenet1_1", "v1"), ("resnet50", "v3")])
def test_a_variant_that_a_network_has_not_is_refused(name, variant):
    with torch.device("meta"):
        backbone = build_backbone(name)
    with pytest.raises(ModelError, match=f"{name}: no variant '{variant}'"):
        set_variant(backbone, variant)
