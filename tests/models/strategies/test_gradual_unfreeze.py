import pytest

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.strategies.gradual_unfreeze import gradual_unfreeze

TOP, STAGES = ("pooling", "head"), ("stage4", "stage3", "stage2", "stem")


@pytest.fixture
def phase():
    return gradual_unfreeze(SliceBagClassifier(build_backbone("shufflenet_v2_x0_5"), 2, pooling="attention"))[-1]


def test_each_lower_stage_learns_2_6_times_more_slowly(phase):
    assert [phase.rates[name] for name in TOP] == [1.0, 1.0]
    assert [phase.rates[name] for name in STAGES] == pytest.approx([1 / 2.6, 1 / 6.76, 1 / 17.576, 1 / 45.6976])


@pytest.mark.parametrize("epochs", [5, 10])
def test_one_more_stage_joins_each_epoch_from_the_top(phase, epochs):
    for epoch in range(epochs):
        assert phase.trained(epoch, epochs) == (*TOP, *STAGES[:epoch])


@pytest.mark.parametrize(("epochs", "counts"), [(1, [5]), (2, [3, 5]), (3, [2, 4, 5]), (4, [2, 3, 4, 5])])
def test_with_few_epochs_more_than_one_joins_so_that_all_are_trained_in_the_end(phase, epochs, counts):
    """Five entries: the top, then four stages."""
    assert [len(phase.trained(n, epochs)) - 1 for n in range(epochs)] == counts


def test_every_group_that_has_parameters_joins():
    """VGG's last stage is a pooling."""
    classifier = SliceBagClassifier(build_backbone("vgg11"), 2, pooling="mean")
    last = gradual_unfreeze(classifier)[-1]
    assert set(last.trained(9, 10)) == set(last.groups)
    assert {id(p) for name, ps in classifier.layer_groups() if name in last.groups for p in ps} == {
        id(p) for p in classifier.parameters()
    }
