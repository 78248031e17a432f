import pytest

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.phase import backbone_groups
from models.strategies.surgical import surgical_first, surgical_last, surgical_middle, thirds

RESNET = ("stem", "layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (RESNET, (("stem", "layer1"), ("layer2", "layer3"), ("layer4",))),
        (("a", "b", "c", "d"), (("a", "b"), ("c",), ("d",))),
        (("a", "b", "c"), (("a",), ("b",), ("c",))),
        (("a", "b"), (("a",), ("b",), ("b",))),
        (("a",), (("a",), ("a",), ("a",))),
        (tuple("abcdefg"), (("a", "b", "c"), ("d", "e"), ("f", "g"))),
    ],
)
def test_thirds(groups, expected):
    assert thirds(groups) == expected


@pytest.mark.parametrize("count", range(3, 20))
def test_thirds_divide_the_groups(count):
    groups = tuple(str(n) for n in range(count))
    parts = thirds(groups)
    assert sum(parts, ()) == groups
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("strategy", "k"), [(surgical_first, 0), (surgical_middle, 1), (surgical_last, 2)])
def test_one_third_is_trained_after_the_probe_in_evaluation_mode(strategy, k):
    classifier = SliceBagClassifier(build_backbone("resnet18"), 2, pooling="mean")
    *probe, last = strategy(classifier)
    assert all(phase.cached for phase in probe)
    assert last.groups == thirds(RESNET)[k]
    assert last.batch_norm == "eval"


def test_a_stage_without_parameters_is_no_block():
    """VGG's last stage is a pooling."""
    classifier = SliceBagClassifier(build_backbone("vgg11"), 2, pooling="mean")
    assert set(backbone_groups(classifier)) < set(classifier.backbone.stage_names)
    parameters = dict(classifier.backbone.layer_groups())
    assert all(parameters[name] for name in surgical_last(classifier)[-1].groups)
