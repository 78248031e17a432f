"""Where the stages of a family begin, against the papers' resolutions."""

import pytest
import torch

from models.backbones import build_backbone
from models.families import ARCHITECTURES, HALF, IMAGENET_MEAN

# side of each stage's map for a 224 x 224 image (299 for Inception-v3), from the papers' tables
SIDES = {
    "resnet50": {"stem": 56, "layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7},
    "densenet121": {"stem": 56, "block1": 56, "block2": 28, "block3": 14, "block4": 7},
    "vgg16": {"stem": 224, "stage1": 112, "stage2": 56, "stage3": 28, "stage4": 14, "stage5": 7},
    "squeezenet1_1": {"stem": 111, "stage1": 55, "stage2": 27, "stage3": 13},
    "mobilenet_v2": {"stem": 112, "stage1": 56, "stage2": 28, "stage3": 14, "stage4": 7},
    "efficientnet_b0": {"stem": 112, "stage1": 56, "stage2": 28, "stage3": 14, "stage4": 7},
    "convnext_tiny": {"stem": 56, "stage1": 28, "stage2": 14, "stage3": 7},
    "shufflenet_v2_x1_0": {"stem": 56, "stage2": 28, "stage3": 14, "stage4": 7},
    "googlenet": {"stem": 28, "inception3": 28, "inception4": 14, "inception5": 7},
    "inception_v3": {"stem": 35, "mixed5": 35, "mixed6": 17, "mixed7": 8},
}


@pytest.mark.parametrize("name", SIDES)
def test_stages_halve_the_resolution_where_the_paper_says(name):
    side = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        maps = build_backbone(name).eval().feature_maps(torch.zeros(1, 3, side, side))
    assert {stage: found.shape[-1] for stage, found in maps.items()} == SIDES[name]


def test_channels_of_resnet_and_densenet_are_those_of_the_papers():
    with torch.device("meta"):
        resnet = build_backbone("resnet50").eval().feature_maps(torch.zeros(1, 3, 64, 64))
        dense = build_backbone("densenet121").eval().feature_maps(torch.zeros(1, 3, 64, 64))
    assert [found.shape[1] for found in resnet.values()] == [64, 256, 512, 1024, 2048]
    assert [found.shape[1] for found in dense.values()] == [64, 256, 512, 1024, 1024]


def test_densenets_last_map_is_after_norm_and_relu():
    backbone = build_backbone("densenet121").eval()
    with torch.inference_mode():
        assert backbone.last_map(torch.randn(1, 3, 64, 64)).min() >= 0


def test_only_the_two_inceptions_expect_another_normalisation():
    other = {name for name, architecture in ARCHITECTURES.items() if architecture.mean != IMAGENET_MEAN}
    assert other == {"googlenet", "inception_v3"}
    assert all(ARCHITECTURES[name].mean == ARCHITECTURES[name].std == HALF for name in other)
    assert ARCHITECTURES["inception_v3"].min_size == 75


def test_the_registry_holds_what_torchvision_calls_by_the_same_name():
    assert all(architecture.builder.__name__ == name for name, architecture in ARCHITECTURES.items())
