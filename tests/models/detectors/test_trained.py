"""What every detector with a network of its own must do, on slices of one anatomy with a planted blob."""

import copy

import pytest
import torch

from models.backbones import build_backbone
from models.detectors import DETECTORS
from models.errors import DetectorError

SIZE = 64
ROW, COLUMN, RADIUS = 20, 42, 9
STEPS = {"stfpm": 40, "reverse_distillation": 40, "autoencoder": 30}
NAMES = list(STEPS)


def slices(count, seed):
    """Slices (N, 1, 64, 64): one smooth anatomy, as bright as the scan happens to be, and noise."""
    arch = torch.linspace(0, 3.14, SIZE).sin()
    generator = torch.Generator().manual_seed(seed)
    gain = 0.45 + 0.1 * torch.rand(count, 1, 1, 1, generator=generator)
    noise = 0.03 * torch.randn(count, 1, SIZE, SIZE, generator=generator)
    return (gain * arch[:, None] * arch + noise).clamp(0, 1)


def inside():
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (rows - ROW) ** 2 + (columns - COLUMN) ** 2 <= RADIUS**2


def with_blob(images):
    """A lesion with a grain that no normal slice has."""
    grain = (torch.arange(SIZE)[:, None] // 3 + torch.arange(SIZE) // 3) % 2
    return torch.where(inside(), grain.float(), images)


def make(name, seed=0, **options):
    backbone = build_backbone("resnet18@layer2", seed=5)
    return DETECTORS[name](backbone, image_size=SIZE, seed=seed, **options)


@pytest.fixture(scope="module")
def fitted():
    """Each detector fitted once, and the state of its backbone before."""
    done = {}

    def get(name, stream):
        if name not in done:
            detector = make(name, steps=STEPS[name])
            before = copy.deepcopy(detector.backbone.state_dict())
            detector.fit(stream(slices(8, seed=1), batch=3))
            done[name] = detector, before
        return done[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_a_blob_has_its_peak_inside(name, fitted, stream):
    detector, _ = fitted(name, stream)
    assert detector.curve[-1] < 0.7 * detector.curve[0]
    normal = slices(4, seed=2)
    plain, ill = detector.score(normal), detector.score(with_blob(normal), maps=True)
    assert plain.maps is None
    assert ill.maps.shape == (4, SIZE, SIZE)
    assert ill.score.min() > plain.score.max()
    peaks = ill.maps.flatten(1).argmax(dim=1)
    assert inside().flatten()[peaks].all()


@pytest.mark.parametrize("name", NAMES)
def test_the_backbone_is_left_as_it_was(name, fitted, stream):
    detector, before = fitted(name, stream)
    after = detector.backbone.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_learned_and_take_are_exact_and_hold_no_backbone(name, fitted, stream):
    detector, _ = fitted(name, stream)
    learned = detector.learned()
    other = make(name, seed=3)
    other.take(learned)
    found, expected = other.score(slices(2, seed=4), maps=True), detector.score(slices(2, seed=4), maps=True)
    assert torch.equal(found.score, expected.score)
    assert torch.equal(found.maps, expected.maps)
    assert any("running_var" in key for key in learned)
    assert not any(key.startswith("backbone") for key in learned)
    assert all(torch.equal(other.learned()[key], value) for key, value in learned.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_score_depends_on_its_slice_alone_even_in_training_mode(name, fitted, stream):
    detector, _ = fitted(name, stream)
    images = torch.cat([slices(2, seed=6), with_blob(slices(3, seed=7))])
    together = detector.train().score(images, maps=True)
    for place in range(len(images)):
        alone = detector.score(images[place : place + 1], maps=True)
        assert torch.allclose(alone.score[0], together.score[place], rtol=1e-3)
        assert torch.allclose(alone.maps[0], together.maps[place], rtol=1e-3, atol=1e-4 * float(together.maps.max()))


@pytest.mark.parametrize("name", NAMES)
def test_fitting_follows_the_seed_starts_afresh_and_leaves_the_global_generator(name, stream):
    few = stream(slices(4, seed=1))
    first, other = make(name, seed=1, steps=2), make(name, seed=2, steps=2)
    before = torch.get_rng_state()
    states = []
    for detector in (first, other, first):
        detector.fit(few)
        states.append(detector.learned())
    assert torch.equal(before, torch.get_rng_state())
    once, differing, again = states
    assert all(torch.equal(once[key], value) for key, value in again.items())
    assert any(not torch.equal(once[key], value) for key, value in differing.items())


@pytest.mark.parametrize("name", NAMES)
def test_slices_that_are_not_numbers_stop_the_fit_and_nothing_is_kept(name, stream):
    detector = make(name, steps=3)
    images = slices(4, seed=1)
    images[2, 0, 5, 5] = float("nan")
    with pytest.raises(DetectorError, match="training step 1 of 3: loss is nan"):
        detector.fit(stream(images))
    with pytest.raises(DetectorError, match="has learned nothing yet"):
        detector.learned()
    with pytest.raises(DetectorError, match="has learned nothing yet"):
        detector.score(slices(1, seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_reduced_precision_scores_nearly_the_same(name, fitted, stream):
    detector, _ = fitted(name, stream)
    reduced = copy.deepcopy(detector)
    reduced.reduced = True
    images = with_blob(slices(3, seed=8))
    found = reduced.score(images, maps=True)
    assert found.score.dtype == found.maps.dtype == torch.float32
    assert torch.allclose(found.score, detector.score(images).score, rtol=0.1)


def drop(learned):
    learned.pop(next(iter(learned)))


def add(learned):
    learned["more"] = torch.zeros(1)


def cut(learned):
    name = next(iter(learned))
    learned[name] = learned[name][:1]


def halve(learned):
    name = next(iter(learned))
    learned[name] = learned[name].half()


def spoil(learned):
    next(iter(learned.values())).view(-1)[0] = float("nan")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, "is missing"),
        (add, "more is not of this network"),
        (cut, "expected torch.float32"),
        (halve, "is torch.float16"),
        (spoil, "not finite"),
    ],
)
def test_stored_weights_that_do_not_fit_are_refused(damage, message, fitted, stream):
    detector = copy.deepcopy(fitted("autoencoder", stream)[0])
    learned = detector.learned()
    damage(learned)
    with pytest.raises(DetectorError, match=message):
        detector.take(learned)


def test_epochs_of_none_are_refused_rather_than_replaced():
    with pytest.raises(DetectorError, match="at least 1 epoch"):
        make("stfpm", epochs=0)
