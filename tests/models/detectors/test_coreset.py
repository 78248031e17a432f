"""Core-sets of patches: the radius against plain greedy k-centre, and the cap."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from models.detectors.coreset import BLOCK, CoreSet, greedy_centres
from models.errors import DetectorError


def clusters(count, width, seed=0):
    """Patches as networks give them: unevenly many around some centres, some centres rare and far away."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, width)) * 4
    centres[36:] *= 8
    owner = (rng.random(count) ** 6 * 40).astype(int)
    owner[:: count // 25] = 36 + np.arange(len(owner[:: count // 25])) % 4
    return torch.from_numpy((centres[owner] + rng.normal(size=(count, width))).astype(np.float32))


def radius(patches, centres):
    return cdist(patches.numpy().astype(float), centres.numpy().astype(float)).min(axis=1).max()


def plain_greedy(patches, count, first=0):
    """Gonzalez' greedy, one centre a step, in float64."""
    points = patches.numpy().astype(float)
    chosen, gaps = [first], np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < count:
        chosen.append(int(gaps.argmax()))
        gaps = np.minimum(gaps, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen, gaps.max()


def test_a_line_of_points_by_hand():
    points = torch.tensor([[0.0], [1.0], [2.0], [9.0], [10.0]])
    chosen, found = greedy_centres(points, 2, first=0)
    assert chosen.tolist() == [0, 4]
    assert found == pytest.approx(2.0)
    chosen, found = greedy_centres(points, 3, first=0)
    assert chosen.tolist() == [0, 4, 2]
    assert found == pytest.approx(1.0)


def test_without_slack_the_centres_are_those_of_plain_greedy():
    patches = clusters(500, 6)
    expected, far = plain_greedy(patches, 40, first=7)
    chosen, found = greedy_centres(patches, 40, first=7, slack=0.0)
    assert chosen.tolist() == expected
    assert found == pytest.approx(far, rel=1e-4)


def test_each_centre_is_nearly_the_farthest_point_when_it_is_chosen():
    patches = clusters(800, 5)
    chosen, _ = greedy_centres(patches, 3 * BLOCK, first=0, slack=0.05)
    distances = cdist(patches.numpy().astype(float), patches.numpy().astype(float))
    gaps = distances[chosen[0]]
    for centre in chosen[1:].tolist():
        assert gaps[centre] >= 0.95 * gaps.max() * (1 - 1e-4)
        gaps = np.minimum(gaps, distances[centre])


def test_the_reported_radius_is_the_distance_that_is_left():
    patches = clusters(700, 8)
    chosen, found = greedy_centres(patches, 50, first=3)
    assert len(set(chosen.tolist())) == 50
    assert found == pytest.approx(radius(patches, patches[chosen]), rel=1e-4)
    assert found <= 1.1 * plain_greedy(patches, 50, first=3)[1]


def test_streamed_through_a_small_buffer_the_radius_is_near_that_of_greedy_on_all_patches():
    patches = clusters(6000, 12)
    order = torch.from_numpy(np.random.default_rng(1).permutation(6000))
    coreset = CoreSet(size=150, cap=600, seed=0, dimensions=12)
    for part in patches[order].split(97):
        coreset.add(part)
    kept = coreset.finish()
    assert coreset.reductions > 2
    assert len(kept) == 150
    assert radius(patches, kept) <= 1.3 * plain_greedy(patches, 150)[1]
    drawn = patches[order[:150]]
    assert radius(patches, kept) < 0.9 * radius(patches, drawn)  # chance does worse, so the bound can fail


def test_projected_the_radius_in_the_full_space_stays_near():
    torch.manual_seed(0)
    patches = clusters(2000, 24) @ torch.randn(24, 300) / 24**0.5
    coreset = CoreSet(size=100, cap=700, seed=0, dimensions=128)
    for part in patches.split(300):
        coreset.add(part)
    assert radius(patches, coreset.finish()) <= 1.35 * plain_greedy(patches, 100)[1]


def test_memory_never_passes_the_cap():
    coreset = CoreSet(size=20, cap=64, seed=0)
    for n in range(30):
        coreset.add(torch.randn(200, 4, generator=torch.Generator().manual_seed(n)) * (1 + n))
        assert coreset.count < 64
        assert coreset._patches.shape == (64, 4)
    assert coreset.finish().shape == (20, 4)


def test_centres_are_patches_that_came_by():
    patches = clusters(900, 200)
    coreset = CoreSet(size=30, cap=100, seed=3)
    coreset.add(patches)
    assert all((patches == row).all(dim=1).any() for row in coreset.finish())


def test_what_is_covered_is_let_go_and_does_not_fill_the_buffer():
    patches = clusters(100, 6)
    coreset = CoreSet(size=99, cap=100, seed=0)
    for _ in range(50):
        coreset.add(patches)
    assert coreset.reductions == 1


def test_equal_patches_are_kept_once():
    coreset = CoreSet(size=10, cap=50, seed=0)
    coreset.add(torch.tensor([[3.0, 4.0], [0.0, 1.0]]).repeat(40, 1))
    assert sorted(coreset.finish().tolist()) == [[0.0, 1.0], [3.0, 4.0]]
    same = CoreSet(size=10, cap=50, seed=0)
    same.add(torch.full((70, 3), 0.3))
    assert same.finish().tolist() == [[pytest.approx(0.3)] * 3]


def test_the_seed_decides():
    patches = clusters(400, 200)

    def kept(seed):
        coreset = CoreSet(size=20, cap=120, seed=seed)
        coreset.add(patches)
        return coreset.finish()

    state = torch.get_rng_state()
    assert torch.equal(kept(1), kept(1))
    assert not torch.equal(kept(1), kept(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("size", "cap"), [(0, 10), (10, 10)])
def test_sizes_that_make_no_sense_are_refused(size, cap):
    with pytest.raises(DetectorError, match="size must be"):
        CoreSet(size=size, cap=cap, seed=0)


def test_a_patch_that_is_not_finite_is_refused():
    coreset = CoreSet(size=2, cap=10, seed=0)
    with pytest.raises(DetectorError, match="not finite"):
        coreset.add(torch.tensor([[0.0, 1.0], [float("nan"), 2.0]]))
