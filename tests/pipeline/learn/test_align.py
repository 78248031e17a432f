"""The alignment term by itself, and statistics taken from a target's scans."""

import numpy as np
import pytest
import torch

from models.alignment import LOSSES
from models.alignment.coral import coral_loss
from models.errors import NoBatchNormError, UnknownNameError
from pipeline.learn.align import align_statistics, make_term
from pipeline.learn.batches import load_bags
from pipeline.learn.fit import UnlabelledSet
from pipeline.prepare.samples import LEVELS

CPU = torch.device("cpu")
SIDE = 64


def make_target(store, count):
    """Radiographs of noise from a scanner with less contrast and more brightness."""
    rng = np.random.default_rng(5)
    contents = []
    for n in range(count):
        path = store.path(f"target {n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (LEVELS * (0.3 * rng.random((1, 1, SIDE, SIDE)) + 0.1)).astype(np.uint16))
        contents.append(f"target {n}")
    return UnlabelledSet(store, tuple(contents))


def test_a_term_has_the_weight_it_is_given_and_learns_nothing_but_danns_discriminator():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(6, 5, generator=generator), torch.randn(7, 5, generator=generator) + 1
    logits = torch.randn(7, 3, generator=generator)
    for name in LOSSES:
        one, two = (make_term(name, 5, 3, weight, 0) for weight in (1.0, 2.5))
        value = float(one.loss(source, target, logits, 0.5).detach())
        assert float(two.loss(source, target, logits, 0.5).detach()) == pytest.approx(2.5 * value)
        assert bool(one.parameters()) == (name == "dann")
    assert float(make_term("coral", 5, 3, 1.0, 0).loss(source, target, logits, 0).detach()) == pytest.approx(
        float(coral_loss(source, target))
    )


def test_one_row_says_nothing_about_a_distribution():
    feature = torch.randn(1, 5, requires_grad=True)
    many, logits = torch.randn(8, 5), torch.zeros(8, 2)
    for name in ("coral", "dan"):
        value = make_term(name, 5, 2, 1.0, 0).loss(feature, many, logits, 0.5)
        assert float(value.detach()) == 0
        value.backward()
        assert not feature.grad.any()
    assert float(make_term("dann", 5, 2, 1.0, 0).loss(feature, many, logits, 0.5).detach()) > 0


def test_a_terms_state_goes_into_a_checkpoint_and_back():
    one, two = make_term("dann", 5, 2, 1.0, 0), make_term("dann", 5, 2, 1.0, 1)
    assert not torch.equal(one.parameters()[0], two.parameters()[0])
    two.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert make_term("coral", 5, 2, 1.0, 0).state_dict() == {}


def test_an_operation_is_not_a_loss_and_the_other_way_round(bench):
    with pytest.raises(UnknownNameError, match="coral"):
        make_term("adabn", 5, 2, 1.0, 0)
    made = bench()
    with pytest.raises(UnknownNameError, match="adabn"):
        align_statistics("coral", made.classifier, made.train.store, made.train.contents, device=CPU, seed=0)
    with pytest.raises(ValueError, match="1 classes"):
        make_term("coral", 5, 1, 1.0, 0)


def test_adabn_takes_the_targets_statistics_and_warns_of_few_slices(bench):
    made = bench()
    target = make_target(made.train.store, 40)
    (note,) = align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=0)
    assert "only 40 target slices" in note
    first = made.classifier.backbone.stages["stem"][0]
    bags = load_bags(target.store, target.contents, range(40))
    with torch.no_grad():
        maps = first[0](made.classifier.normalise(bags.slices[:, 0])).transpose(0, 1).flatten(1)
    assert torch.allclose(first[1].running_mean, maps.mean(dim=1), atol=1e-4)
    assert torch.allclose(first[1].running_var, maps.var(dim=1), rtol=1e-3)


def test_statistics_do_not_depend_on_the_order_of_the_scans_beyond_the_batches(bench):
    """And 64 slices are enough not to be warned."""
    made = bench()
    target = make_target(made.train.store, 70)
    states = []
    for seed in (0, 1):
        assert align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=seed) == ()
        states.append({key: value.clone() for key, value in made.classifier.state_dict().items()})
    assert all(torch.allclose(states[0][key], value, atol=1e-3) for key, value in states[1].items())


def test_feature_statistics_serve_a_backbone_without_batch_norm(bench):
    made = bench(backbone="squeezenet1_1")
    target = make_target(made.train.store, 30)
    with pytest.raises(NoBatchNormError, match="squeezenet1_1"):
        align_statistics("adabn", made.classifier, target.store, target.contents, device=CPU, seed=0)
    align_statistics("feature_statistics", made.classifier, target.store, target.contents, device=CPU, seed=0)
    bags = load_bags(target.store, target.contents, range(30))
    with torch.no_grad():
        found = made.classifier.norm(made.classifier.eval().features(bags.slices[:, 0]))
    assert found.mean(dim=0).abs().max() < 1e-3
    assert float(found.std(dim=0, correction=0).median()) == pytest.approx(1, abs=1e-3)
