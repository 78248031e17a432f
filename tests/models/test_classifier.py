import pytest
import torch

from models.backbones import build_backbone
from models.classifier import FeatureNorm, SliceBagClassifier, pack

NAME = "squeezenet1_1"


def build(pooling="attention", *, classes=3, seed=0):
    """An untrained classifier with a head that is not zero, in evaluation mode."""
    classifier = SliceBagClassifier(build_backbone(NAME, seed=seed), classes, pooling=pooling, seed=seed)
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(7))
    return classifier.eval()


def random_slices(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_feature_norm_is_the_formula_of_its_docstring():
    """Feature 1 has mean 2 and std 1, feature 2 mean 10 and std 0, feature 3 mean 0 and std 2: mean std 1."""
    norm = FeatureNorm([3])
    norm.fit(torch.tensor([[1.0, 10.0, -2.0], [3.0, 10.0, 2.0]]))
    torch.testing.assert_close(norm.mean, torch.tensor([2.0, 10.0, 0.0]))
    torch.testing.assert_close(norm.std, torch.tensor([1.0, FeatureNorm.FLOOR, 2.0]))
    found = norm(torch.tensor([[4.0, 10.5, -4.0]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.5 / FeatureNorm.FLOOR, -2.0]]))


def test_feature_norm_of_constant_features_only_centres():
    norm = FeatureNorm([2])
    norm.fit(torch.tensor([[5.0, -1.0], [5.0, -1.0]]))
    torch.testing.assert_close(norm(torch.tensor([[6.0, 0.0]])), torch.tensor([[1.0, 1.0]]))


def test_feature_norm_takes_a_single_row():
    norm = FeatureNorm([2])
    norm.fit(torch.tensor([[5.0, -1.0]]))
    assert norm(torch.tensor([[5.0, -1.0]])).tolist() == [[0.0, 0.0]]


def test_an_untrained_head_says_nothing():
    classifier = SliceBagClassifier(build_backbone(NAME), 3, pooling="mean")
    logits = classifier.eval()(random_slices(2, 1, 1, 64, 64), torch.ones(2, 1, dtype=torch.bool))
    assert logits.tolist() == [[0.0] * 3] * 2


def test_grey_is_colour_with_three_equal_channels():
    classifier = build()
    grey, mask = random_slices(2, 2, 1, 64, 64), torch.ones(2, 2, dtype=torch.bool)
    torch.testing.assert_close(classifier(grey, mask), classifier(grey.expand(-1, -1, 3, -1, -1), mask))


def test_normalise_subtracts_the_mean_and_divides_by_the_deviation_per_channel():
    classifier = build()
    found = classifier.normalise(torch.full((1, 1, 2, 2), 0.5))[0, :, 0, 0]
    mean, std = classifier.backbone.mean, classifier.backbone.std
    assert found.tolist() == pytest.approx([(0.5 - m) / s for m, s in zip(mean, std, strict=True)])


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_bag_of_one_is_its_slice_through_backbone_norm_and_head(pooling):
    classifier = build(pooling)
    slices = random_slices(2, 1, 1, 64, 64)
    features = classifier.backbone(classifier.normalise(slices[:, 0]))
    expected = classifier.head((features - classifier.norm.mean) / classifier.norm.std)
    found = classifier(slices, torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_padding_of_bags_does_not_change_logits(pooling):
    classifier = build(pooling)
    classifier.norm.fit(random_slices(5, 512, seed=3))
    slices = random_slices(1, 2, 1, 64, 64)
    alone = classifier(slices, torch.ones(1, 2, dtype=torch.bool))
    padded = torch.cat([slices, random_slices(1, 3, 1, 64, 64, seed=1)], dim=1)
    batch = torch.cat([padded, random_slices(1, 5, 1, 64, 64, seed=2)])
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    torch.testing.assert_close(classifier(batch, mask)[:1], alone, rtol=1e-4, atol=1e-5)


def test_pack_puts_rows_where_the_mask_is_true():
    mask = torch.tensor([[True, False, True], [False, True, False]])
    found = pack(torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.bfloat16), mask)
    assert found.dtype == torch.float32
    assert found[..., 0].tolist() == [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]


@pytest.mark.parametrize(("pooling", "top"), [("mean", ("head",)), ("attention", ("pooling", "head"))])
def test_layer_groups_hold_every_parameter_once(pooling, top):
    classifier = build(pooling)
    grouped = [id(p) for _, parameters in classifier.layer_groups() for p in parameters]
    assert sorted(grouped) == sorted(id(p) for p in classifier.parameters())
    assert classifier.top_groups() == top


def test_input_normalisation_is_no_part_of_the_state():
    assert not {"input_mean", "input_std"} & set(build().state_dict())
    assert {"norm.mean", "norm.std"} <= set(build().state_dict())


def test_the_seed_decides_the_pooling_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build(seed=n).pooling.tanh.weight for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_taps_of_any_width_have_equal_shares_of_the_energy_and_512_together():
    norm = FeatureNorm([4, 12])
    rows = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 9, 16) + 3
    norm.fit(rows)
    energy = norm(rows).square().mean(dim=0)
    torch.testing.assert_close(energy[:4].sum(), torch.tensor(256.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(energy[4:].sum(), torch.tensor(256.0), rtol=1e-4, atol=0)
