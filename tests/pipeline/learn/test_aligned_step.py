"""Source and target in one step: the gradient of the whole loss, whatever the parts; what the term is given."""

import math

import pytest
import torch
from torch import nn

from models.alignment.loss import AlignmentLoss
from models.stochastic_norm import stochastic_norm
from models.strategies.phase import Phase, group_names
from pipeline.errors import TrainingError
from pipeline.learn import aligned_step, parts
from pipeline.learn.align import AlignmentTerm, make_term
from pipeline.learn.aligned_step import backward_together
from pipeline.learn.batches import load_bags
from pipeline.learn.fit import Fit
from pipeline.learn.optimiser import train_groups
from pipeline.learn.parts import cut, pooled
from pipeline.learn.sets import UnlabelledSet
from pipeline.watch import Watch

CPU = torch.device("cpu")


def distance(source, target):
    """Compares whole batches, so that it cannot be summed over parts: squared distance of the means."""
    return (source.mean(dim=0) - target.mean(dim=0)).square().mean() + source.square().mean()


def gradients(made):
    return {name: p.grad.clone() for name, p in made.classifier.named_parameters() if p.grad is not None}


def sides(made):
    """Five source and four target bags, padded where bags differ in length."""
    source = load_bags(made.train.store, made.train.contents, range(5))
    target = load_bags(made.val.store, made.val.contents, range(4))
    return list(cut(source.slices, source.mask)), list(cut(target.slices, target.mask))


def step(made):
    source, target = sides(made)

    def pool(part):
        return pooled(made.classifier, part, CPU, "float32")

    backward_together(made.classifier, source, target, pool=pool, loss=distance)
    return len(source) + len(target)


@pytest.mark.parametrize("slices", [1, 3])
def test_in_parts_the_gradient_is_that_of_the_whole(bench, monkeypatch, slices):
    found = []
    for limit in (1000, 4):
        made = bench(str(limit), slices=slices)
        monkeypatch.setattr(parts, "MICRO_SLICES", limit)
        monkeypatch.setattr(aligned_step, "MICRO_SLICES", limit)
        made.classifier.eval()
        assert (step(made) > 2) is (limit == 4)
        found.append(gradients(made))
    made = bench("whole", slices=slices)
    made.classifier.eval()
    source = load_bags(made.train.store, made.train.contents, range(5))
    target = load_bags(made.val.store, made.val.contents, range(4))
    both = [made.classifier.pooled(_bags(made.classifier, bags), bags.mask) for bags in (source, target)]
    distance(*both).backward()
    expected = gradients(made)
    assert not any(name.startswith("head") for name in expected)
    for one in found:
        assert set(one) == set(expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(one[name], gradient, rtol=1e-3, atol=1e-6)


def _bags(classifier, bags):
    features = torch.zeros(*bags.mask.shape, classifier.backbone.num_features)
    features[bags.mask] = classifier.features(bags.slices[bags.mask])
    return features


@pytest.mark.parametrize("norm", ["train", "stochastic"])
def test_random_draws_and_batch_statistics_of_the_second_pass_are_those_of_the_first(bench, monkeypatch, norm):
    """Dropout, stochastic depth, StochNorm and moving statistics, with and without a graph held for all parts."""
    found = []
    for name, limit in (("parts", 4), ("together", 1000)):
        made = bench(name, backbone="efficientnet_b0", train=5, val=4)
        monkeypatch.setattr(parts, "MICRO_SLICES", 4)
        monkeypatch.setattr(aligned_step, "MICRO_SLICES", limit)
        train_groups(made.classifier, Phase("x", group_names(made.classifier), batch_norm=norm))
        with torch.random.fork_rng():
            torch.manual_seed(5)
            if norm == "stochastic":
                with stochastic_norm(made.classifier):
                    assert step(made) == 3
            else:
                assert step(made) == 3
            after = torch.get_rng_state()
        found.append((gradients(made), made.state(), after))
    (one, state, draws), (other, same_state, same_draws) = found
    assert torch.equal(draws, same_draws)
    assert all(torch.equal(state[key], value) for key, value in same_state.items())
    assert any(key.endswith("num_batches_tracked") and int(value) == 3 for key, value in state.items())
    for name, gradient in other.items():
        torch.testing.assert_close(one[name], gradient, rtol=1e-3, atol=1e-6)


def test_no_more_than_the_limit_goes_through_the_network_at_once(bench, monkeypatch):
    made = bench(slices=3)
    monkeypatch.setattr(parts, "MICRO_SLICES", 6)
    monkeypatch.setattr(aligned_step, "MICRO_SLICES", 6)
    sizes, real = [], made.classifier.features

    def watched(slices):
        sizes.append((len(slices), torch.is_grad_enabled()))
        return real(slices)

    monkeypatch.setattr(made.classifier, "features", watched)
    step(made)
    assert max(size for size, _ in sizes) <= 6
    assert [size for size, graph in sizes if graph] == [size for size, graph in sizes if not graph]


class Recorded(AlignmentLoss):
    """A loss with a weight of its own that remembers what it was given."""

    def __init__(self, value=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.value, self.batches = value, []

    def forward(self, batch):
        self.batches.append(batch)
        if self.value is not None and len(self.batches) == 4:
            return self.scale * self.value
        return self.scale * distance(batch.source, batch.target)


def aligned(made, loss, watch=None, weight=1.0):
    target = UnlabelledSet(made.val.store, made.val.contents)
    return Fit(
        made.classifier,
        train=made.train,
        val=made.val,
        config=made.config,
        device=CPU,
        checkpoint=made.checkpoint,
        watch=watch or Watch(),
        target=target,
        term=AlignmentTerm(loss, weight),
    )


def test_the_term_is_given_pooled_features_of_both_sides_with_gradient_and_the_targets_logits(bench):
    """Twelve scans in batches of four, two epochs: six steps, at 1/12, 3/12, ... of the phase."""
    made, loss = bench(slices=2), Recorded()
    aligned(made, loss).run([Phase("full", group_names(made.classifier))])
    width = made.classifier.backbone.num_features
    assert [tuple(batch.source.shape) for batch in loss.batches] == [(4, width)] * 6
    assert [tuple(batch.target.shape) for batch in loss.batches] == [(4, width)] * 6
    assert [tuple(batch.target_logits.shape) for batch in loss.batches] == [(4, 2)] * 6
    assert [batch.done for batch in loss.batches] == pytest.approx([n / 12 for n in (1, 3, 5, 7, 9, 11)])
    assert all(batch.source.requires_grad and batch.target_logits.requires_grad for batch in loss.batches)


def test_the_terms_own_weights_learn_as_fast_as_the_head(bench):
    made, loss = bench(), Recorded()
    fit = aligned(made, loss)
    fit.run([Phase("full", group_names(made.classifier), rates={"head": 10.0})])
    assert float(loss.scale.detach()) < 1
    assert loss.scale.grad is not None


def test_cached_phases_know_no_term(bench):
    made, loss = bench(), Recorded()
    aligned(made, loss).run([Phase("probe", ("head",), cached=True, optimizer="lbfgs", epochs=1)])
    assert loss.batches == []


def test_every_target_scan_comes_once_before_any_comes_again(bench):
    """Six target scans, three steps of four."""
    made = bench()
    fit = aligned(made, Recorded())
    drawn = [n for bags in fit.steps._unlabelled(12, seed=7) for n in bags.index.tolist()]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == list(range(6))
    assert drawn == [n for bags in fit.steps._unlabelled(12, seed=7) for n in bags.index.tolist()]
    assert drawn != [n for bags in fit.steps._unlabelled(12, seed=8) for n in bags.index.tolist()]


def test_a_killed_run_takes_up_the_terms_state_too(bench):
    class Killed(BaseException):
        pass

    def killer(title, _total):
        def tell(_count):
            if title.endswith("epoch 2"):
                raise Killed

        return tell

    states = []
    for name in ("whole", "killed"):
        made, loss = bench(name), Recorded()
        phases = [Phase("full", group_names(made.classifier))]
        if name == "killed":
            with pytest.raises(Killed):
                aligned(made, loss, Watch(bar=killer)).run(phases)
            made, loss = bench(name), Recorded()
        history = aligned(made, loss).run(phases)
        states.append((made.state(), float(loss.scale.detach()), history))
    assert states[0][1:] == states[1][1:]
    assert all(torch.equal(states[0][0][key], value) for key, value in states[1][0].items())


def test_an_alignment_loss_that_is_no_number_ends_the_phase_and_says_where(bench):
    made = bench()
    fit = aligned(made, Recorded(value=math.nan))
    history = fit.run([Phase("full", group_names(made.classifier))])
    assert len(history) == 1
    (note,) = fit.notes
    assert note.startswith("phase full, epoch 2, step 1: the alignment loss is not a number; ")
    assert all(value.isfinite().all() for value in made.state().values())


def test_without_any_good_state_it_is_an_error(bench):
    made, loss = bench(), Recorded()
    with torch.no_grad():
        loss.scale.fill_(math.inf)
    with pytest.raises(TrainingError, match="phase full, epoch 1, step 1: the alignment loss is not a number"):
        aligned(made, loss).run([Phase("full", group_names(made.classifier))])


@pytest.mark.parametrize("contents", [None, ()])
def test_a_term_without_target_scans_is_an_error(bench, contents):
    made = bench()
    target = None if contents is None else UnlabelledSet(made.val.store, ())
    with pytest.raises(TrainingError, match="no target scans"):
        Fit(
            made.classifier,
            train=made.train,
            val=made.val,
            config=made.config,
            device=CPU,
            checkpoint=made.checkpoint,
            watch=Watch(),
            target=target,
            term=make_term("coral", 4, 2, 1.0, 0),
        )


@pytest.mark.parametrize("name", ["coral", "dan", "dann", "mcc"])
@pytest.mark.parametrize("slices", [1, 2])
def test_every_alignment_loss_trains_radiographs_and_volumes(bench, name, slices):
    made = bench(slices=slices, epochs=1, learning_rate=1e-4)
    before = made.state()
    term = make_term(name, made.classifier.backbone.num_features, 2, 1.0, 0)
    target = UnlabelledSet(made.val.store, made.val.contents)
    history = Fit(
        made.classifier,
        train=made.train,
        val=made.val,
        config=made.config,
        device=CPU,
        checkpoint=made.checkpoint,
        watch=Watch(),
        target=target,
        term=term,
    ).run([Phase("full", group_names(made.classifier))])
    assert all(math.isfinite(row.train_loss) for row in history)
    assert not torch.equal(before["head.weight"], made.state()["head.weight"])
