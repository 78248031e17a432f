import numpy as np
import pytest
import torch

from pipeline.learn.batches import iterate, load_bags
from pipeline.learn.features import backbone_digest, extract
from pipeline.prepare.samples import to_tensor

CPU = torch.device("cpu")


def test_features_are_the_networks_own_slice_by_slice(bench):
    made = bench(slices=4, train=5)
    bags = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    assert bags.mask.sum(dim=1).tolist() == [4, 3, 4, 3, 4]
    assert (bags.features[~bags.mask] == 0).all()
    for n in (0, 1, 4):
        slices = to_tensor(made.train.store.load(made.train.contents[n]))
        with torch.inference_mode():
            expected = made.classifier.eval().features(slices)
        torch.testing.assert_close(bags.features[n][bags.mask[n]], expected, rtol=1e-4, atol=1e-6)


def test_the_second_time_nothing_is_computed_and_only_new_series_are(bench, monkeypatch):
    made = bench(train=6)
    store, contents = made.train.store, made.train.contents
    first = extract(made.classifier, store, contents[:4], device=CPU)
    seen = []
    real = made.classifier.features
    monkeypatch.setattr(made.classifier, "features", lambda slices: seen.append(len(slices)) or real(slices))
    again = extract(made.classifier, store, contents[:4], device=CPU)
    assert seen == []
    assert torch.equal(again.features, first.features)
    extract(made.classifier, store, contents, device=CPU)
    assert sum(seen) == 2


def test_progress_counts_every_series_once(bench):
    made = bench(train=6)
    for _ in range(2):
        steps = []
        extract(made.classifier, made.train.store, made.train.contents, device=CPU, progress=steps.append)
        assert sum(steps) == 6


def test_other_weights_have_other_features(bench):
    made = bench()
    before = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    digest = backbone_digest(made.classifier)
    with torch.no_grad():
        next(made.classifier.backbone.parameters()).mul_(-1)
    assert backbone_digest(made.classifier) != digest
    after = extract(made.classifier, made.train.store, made.train.contents, device=CPU)
    assert not torch.equal(before.features, after.features)


def test_the_digest_hangs_on_buffers_and_not_on_the_head(bench):
    classifier = bench().classifier
    digest = backbone_digest(classifier)
    torch.nn.init.ones_(classifier.head.weight)
    assert backbone_digest(classifier) == digest
    next(b for name, b in classifier.backbone.named_buffers() if name.endswith("running_mean")).add_(1)
    assert backbone_digest(classifier) != digest


def test_bags_are_padded_and_grey_joins_colour(tmp_path, bench):
    store = bench(slices=3, train=1).train.store
    for name, array in {
        "grey": np.full((1, 1, 64, 64), 65535, np.uint16),
        "colour": np.arange(2 * 3 * 64 * 64, dtype=np.uint16).reshape(2, 3, 64, 64),
    }.items():
        store.path(name).parent.mkdir(parents=True, exist_ok=True)
        np.save(store.path(name), array)
    bags = load_bags(store, ["grey", "colour"], [0, 1])
    assert bags.slices.shape == (2, 2, 3, 64, 64)
    assert bags.mask.tolist() == [[True, False], [True, True]]
    assert (bags.slices[0, 0] == 1).all()
    assert (bags.slices[0, 1] == 0).all()
    torch.testing.assert_close(bags.slices[1], to_tensor(store.load("colour")))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_batches_come_in_the_order_given_with_nothing_lost(bench, batch_size):
    made = bench(train=5)
    order = [3, 0, 4, 1, 2]
    batches = [bags.index.tolist() for bags in iterate(made.train.store, made.train.contents, order, batch_size)]
    assert [n for batch in batches for n in batch] == order
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_an_error_of_the_reader_arrives(bench):
    made = bench(train=3)
    made.train.store.path(made.train.contents[2]).unlink()
    with pytest.raises(FileNotFoundError):
        list(iterate(made.train.store, made.train.contents, range(3), 1))
