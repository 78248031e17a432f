import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from models.backbones import build_backbone
from models.detectors import DETECTORS
from models.detectors.knn import NearestNeighbours
from models.detectors.mahalanobis import Mahalanobis
from models.errors import DetectorError

KINDS = [NearestNeighbours, Mahalanobis]
SIZE = 32
JOINED = "squeezenet1_1@stage1+stage2"


def build(kind, name="squeezenet1_1@stage1", **changes):
    return kind(build_backbone(name, seed=1), **{"image_size": SIZE, **changes})


def features(name, images):
    """Pooled features of each joined stage, as numpy, by the backbone's own forward pass."""
    backbone = build_backbone(name, seed=1).eval()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (backbone.mean, backbone.std))
    with torch.no_grad():
        return [part.double().numpy() for part in backbone.tapped((images.expand(-1, 3, -1, -1) - mean) / std)]


def scaled(scaling, normal, fresh):
    """A second implementation of `scaling`: features of stages (n, F_t) side by side."""
    out = []
    for a, b in zip(normal, fresh, strict=True):
        several = len(normal) > 1
        if scaling == "l2":
            a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        elif scaling == "standard":
            std = a.std(axis=0)
            divisor = np.maximum(std, 0.01 * std.mean()) * (a.shape[1] ** 0.5 if several else 1)
            a, b = (a - a.mean(axis=0)) / divisor, (b - a.mean(axis=0)) / divisor
        elif several:
            divisor = a.var(axis=0).sum() ** 0.5
            a, b = a / divisor, b / divisor
        out.append((a, b))
    return np.hstack([a for a, _ in out]), np.hstack([b for _, b in out])


@pytest.mark.parametrize("name", ["squeezenet1_1@stage1", JOINED])
@pytest.mark.parametrize("scaling", ["none", "l2", "standard"])
def test_knn_agrees_with_scikit_learn(name, scaling, stream, textures):
    normal, fresh = textures(25), textures(6, seed=1)
    bank, rows = scaled(scaling, features(name, normal), features(name, fresh))
    detector = build(NearestNeighbours, name, scaling=scaling)
    detector.fit(stream(normal))
    expected = NearestNeighbors(n_neighbors=5).fit(bank).kneighbors(rows)[0].mean(axis=1)
    np.testing.assert_allclose(detector.score(fresh).score.numpy(), expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["squeezenet1_1@stage1", JOINED])
@pytest.mark.parametrize("scaling", ["none", "l2", "standard"])
def test_mahalanobis_agrees_with_scikit_learn(name, scaling, stream, textures):
    normal, fresh = textures(25), textures(6, seed=1)
    known, rows = scaled(scaling, features(name, normal), features(name, fresh))
    detector = build(Mahalanobis, name, scaling=scaling)
    detector.fit(stream(normal))
    expected = np.sqrt(LedoitWolf().fit(known).mahalanobis(rows))
    np.testing.assert_allclose(detector.score(fresh).score.numpy(), expected, rtol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_the_length_of_the_features_does_not_count(kind, textures):
    found = build(kind, JOINED).pooled(textures(3))
    for part in found.split(build(kind, JOINED).widths, dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_default_stages_are_the_joined_ones_or_the_last(kind):
    assert build(kind).stages == ("stage1",)
    assert build(kind, JOINED).stages == ("stage1", "stage2")
    assert build(kind, JOINED, stages=("stage2",)).stages == ("stage2",)
    assert build(kind, "shufflenet_v2_x0_5@stage3").stages == ("stage3",)


def test_the_neck_belongs_to_the_last_stage():
    """ConvNeXt's norm follows the pooling: the features are the backbone's own."""
    backbone = build_backbone("convnext_tiny", seed=1).eval()
    neck = torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.Linear(768, 768, bias=False)).requires_grad_(False)
    backbone.neck = neck
    detector = NearestNeighbours(backbone, image_size=SIZE, scaling="none")
    images = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = backbone(detector.normalise(images))
    torch.testing.assert_close(detector.pooled(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_depends_on_its_slice_alone(kind, stream, textures):
    detector = build(kind)
    detector.fit(stream(textures(20)))
    fresh = textures(5, seed=1)
    alone = torch.cat([detector.score(image[None]).score for image in fresh])
    found = detector.score(fresh, maps=True)
    torch.testing.assert_close(alone, found.score, rtol=1e-4, atol=1e-6)
    assert found.maps is None
    assert found.score.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_batches_do_not_matter_and_the_global_generator_is_left_alone(kind, stream, textures):
    images = textures(20)
    before = torch.get_rng_state()
    scores = []
    for batch in (3, 20):
        detector = build(kind)
        detector.fit(stream(images, batch))
        scores.append(detector.score(textures(4, seed=1)).score)
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-6)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_what_deviates_scores_higher(kind, stream, textures):
    detector = build(kind)
    detector.fit(stream(textures(40)))
    normal = textures(10, seed=1)
    odd = normal.clone()
    odd[:, :, 8:20, 8:20] = (torch.arange(12) % 2).float()
    assert float(detector.score(odd).score.min()) > float(detector.score(normal).score.max())


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_can_be_stored_and_taken(kind, stream, textures):
    first, second = build(kind, scaling="standard"), build(kind, scaling="standard")
    first.fit(stream(textures(20)))
    second.take({name: value.clone() for name, value in first.learned().items()})
    fresh = textures(4, seed=1)
    assert torch.equal(first.score(fresh).score, second.score(fresh).score)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_findings_are_refused(kind, stream, textures):
    detector = build(kind)
    detector.fit(stream(textures(20)))
    good = detector.learned()
    for name, value in good.items():
        bads = (value.double(), value[..., :-1], value * float("nan") if value.is_floating_point() else value.int())
        for bad in bads:
            with pytest.raises(DetectorError, match=f"stored detector: {name}"):
                detector.take({**good, name: bad})
        with pytest.raises(DetectorError, match="expected"):
            detector.take({other: kept for other, kept in good.items() if other != name})
    with pytest.raises(DetectorError, match="divisors above 0"):
        detector.take({**good, "divisor": -good["divisor"]})


@pytest.mark.parametrize("kind", KINDS)
def test_slices_that_teach_nothing_are_refused(kind, stream, textures):
    detector = build(kind)
    with pytest.raises(DetectorError, match=r"needs at least [35] normal slices, found 1"):
        detector.fit(stream(textures(1)))
    with pytest.raises(DetectorError, match="all 12 normal slices are alike"):
        detector.fit(stream(torch.full((12, 1, SIZE, SIZE), 0.5)))
    with pytest.raises(DetectorError, match="not fitted yet"):
        detector.score(textures(1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_gives_no_numbers_is_told(kind, stream, textures):
    detector = build(kind)
    next(detector.backbone.parameters()).data.fill_(float("nan"))
    with pytest.raises(DetectorError, match="not finite"):
        detector.fit(stream(textures(12)))


def test_a_full_bank_keeps_a_random_choice_by_seed(stream, textures):
    images = textures(30)
    banks = []
    for seed in (0, 0, 1):
        detector = build(NearestNeighbours, max_rows=8, seed=seed)
        detector.fit(stream(images))
        banks.append(detector.learned()["bank"])
    assert len(banks[0]) == 8
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])
    every = build(NearestNeighbours)
    every.fit(stream(images))
    known = every.learned()["bank"]
    found = torch.cdist(banks[0], known, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(found.min(dim=1).values.max()) < 1e-5  # each is one of them, and no one twice
    assert len(set(found.argmin(dim=1).tolist())) == 8


def test_small_distances_between_long_vectors_keep_their_digits(stream, textures):
    detector = build(NearestNeighbours)
    detector.fit(stream(textures(40)))
    draw = torch.Generator().manual_seed(0)
    bank = 1000 + torch.randn(40, detector.num_features, generator=draw) * 1e-2
    detector.take({"bank": bank, "divisor": torch.ones(detector.num_features), "neighbours": torch.tensor([2])})
    rows = bank[:3] + 1e-3
    expected = torch.cdist(rows.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = expected.topk(2, largest=False).values.mean(dim=1)
    torch.testing.assert_close(detector._distance(rows).double(), expected, rtol=0.01, atol=0)


def test_the_number_of_neighbours_is_the_stored_one(stream, textures):
    first, second = build(NearestNeighbours, k=2), build(NearestNeighbours)
    first.fit(stream(textures(20)))
    second.take(first.learned())
    fresh = textures(4, seed=1)
    assert torch.equal(first.score(fresh).score, second.score(fresh).score)
    with pytest.raises(DetectorError, match="0 neighbours"):
        second.take({**first.learned(), "neighbours": torch.tensor([0])})
    with pytest.raises(DetectorError, match="needs at least 21 normal slices, found 20"):
        second.take({**first.learned(), "neighbours": torch.tensor([21])})


def test_more_features_than_the_cap_are_refused():
    with pytest.raises(DetectorError, match="128 features of squeezenet1_1@stage1, at most 100"):
        build(Mahalanobis, max_features=100)


def test_both_are_in_the_registry():
    assert DETECTORS["knn"] is NearestNeighbours
    assert DETECTORS["mahalanobis"] is Mahalanobis
