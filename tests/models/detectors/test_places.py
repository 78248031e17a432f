import itertools

import numpy as np
import pytest
import torch

from models.detectors.places import KNOTS, PlaceProfile
from models.errors import DetectorError


def baseline(p):
    return 2 + 3 * p + np.sin(4 * p)


def noise(p):
    return 0.2 + 0.6 * (p > 0.5)


def normals(count, seed):
    """Slices at random places whose level and noise depend on the place."""
    draw = np.random.default_rng(seed)
    p = draw.uniform(size=count)
    return torch.tensor(baseline(p) + noise(p) * draw.normal(size=count)).float(), torch.tensor(p).float()


def test_fresh_normal_slices_look_alike_everywhere():
    scores, places = normals(4000, 0)
    fresh, at = normals(6000, 1)
    assert abs(np.corrcoef(fresh, at)[0, 1]) > 0.5
    found = PlaceProfile.fit(scores, places).standardise(fresh, at)
    assert abs(np.corrcoef(found, at)[0, 1]) < 0.1
    edges = torch.linspace(0, 1, 11)
    for low, high in itertools.pairwise(edges):  # by tenths: the ends must not be off either
        part = found[(at >= low) & (at < high)]
        assert abs(float(part.mean())) < 0.25
        if not 0.35 < float(low) < 0.6:  # where the noise jumps, its estimate cannot
            assert float(part.std()) == pytest.approx(1, abs=0.2)


def test_a_lesion_at_a_quiet_place_outranks_a_normal_slice_at_a_loud_one():
    profile = PlaceProfile.fit(*normals(600, 0))
    lesion, loud = torch.tensor([baseline(0.1) + 6 * noise(0.1)]), torch.tensor([baseline(0.95) + noise(0.95)])
    assert lesion < loud
    quiet = profile.standardise(lesion, torch.tensor([0.1]))
    assert quiet > 3 + profile.standardise(loud, torch.tensor([0.95]))


def test_one_place_gives_median_and_mad_over_all():
    scores = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    found = PlaceProfile.fit(scores, torch.full((11,), 0.5)).standardise(
        torch.tensor([6.0, 12.0]), torch.tensor([0, 1])
    )
    # Median 6; the absolute deviations are 0, 1, 1, 2, 2, 3, 3, ... with median 3.
    torch.testing.assert_close(found, torch.tensor([0.0, 6 / (1.4826 * 3)]), atol=1e-3, rtol=1e-3)


def test_a_line_is_followed_to_its_ends():
    p = np.linspace(0, 1, 200)
    jitter = 0.01 * np.where(np.arange(200) % 2, 1, -1)
    profile = PlaceProfile.fit(torch.tensor(5 * p + jitter), torch.tensor(p))
    np.testing.assert_allclose(profile.centre, 5 * profile.places, atol=0.03)


def test_one_normal_in_twenty_that_is_none_hardly_moves_the_profile():
    scores, places = normals(1000, 0)
    bad = scores.clone()
    bad[::20] += 50
    clean, spoilt = PlaceProfile.fit(scores, places), PlaceProfile.fit(bad, places)
    assert float(((spoilt.centre - clean.centre) / clean.spread).abs().max()) < 0.35
    assert float((spoilt.spread / clean.spread).max()) < 1.35


def test_gaps_and_places_beyond_the_seen_take_the_nearest():
    draw = np.random.default_rng(0)
    p = np.concatenate([draw.uniform(0.3, 0.4, 100), draw.uniform(0.6, 0.7, 100)])
    profile = PlaceProfile.fit(torch.tensor(1 + draw.normal(size=200)), torch.tensor(p))
    found = profile.standardise(torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))
    assert bool((found.abs() < 3).all())
    at_edge = profile.standardise(torch.zeros(1), profile.places[:1])
    assert float(found[0]) == pytest.approx(float(at_edge[0]), rel=1e-5)


def test_maps_are_standardised_as_the_score_of_their_slice():
    profile = PlaceProfile.fit(*normals(300, 0))
    maps, places = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.5, 0.9])
    found = profile.standardise(maps, places)
    for row in range(4):
        torch.testing.assert_close(found[:, row, 2], profile.standardise(maps[:, row, 2], places))


def test_few_slices_are_enough_but_too_few_are_refused():
    scores, places = normals(10, 0)
    profile = PlaceProfile.fit(scores, places)
    assert bool(profile.standardise(scores, places).isfinite().all())
    with pytest.raises(DetectorError, match="needs at least 10 normal slices, found 9"):
        PlaceProfile.fit(scores[:9], places[:9])


@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_scores_that_do_not_vary_are_refused(slope):
    places = torch.linspace(0, 1, 50)
    with pytest.raises(DetectorError, match="alike but for their place"):
        PlaceProfile.fit(1 + slope * places, places)


def test_a_place_where_all_are_alike_has_the_floor_of_spread():
    draw = np.random.default_rng(0)
    p = np.linspace(0, 1, 400)
    profile = PlaceProfile.fit(torch.tensor(np.where(p < 0.5, 0.0, draw.normal(size=400))), torch.tensor(p))
    # 90 % of all lie within 1.28 of 0, for half of them are at 0: S = 1.28 / 1.645 = 0.78, and the floor a tenth of it.
    assert float(profile.standardise(torch.tensor([1.0]), torch.tensor([0.1]))) == pytest.approx(1 / 0.078, rel=0.2)


@pytest.mark.parametrize(("score", "place"), [(float("nan"), 0.5), (1.0, 1.5), (1.0, -0.1), (1.0, float("nan"))])
def test_broken_scores_and_places_are_refused(score, place):
    scores, places = normals(20, 0)
    scores[3], places[3] = score, place
    with pytest.raises(DetectorError, match="finite score and a place"):
        PlaceProfile.fit(scores, places)


def test_places_of_slices_to_standardise_are_checked():
    profile = PlaceProfile.fit(*normals(50, 0))
    for places in (torch.tensor([0.5]), torch.tensor([0.5, 2.0])):
        with pytest.raises(DetectorError, match=r"one in 0\.\.1 for each of 2 slices"):
            profile.standardise(torch.zeros(2), places)


def test_what_was_learned_can_be_stored_and_taken():
    profile = PlaceProfile.fit(*normals(100, 0))
    scores, places = normals(30, 1)
    again = PlaceProfile.take(profile.learned())
    torch.testing.assert_close(again.standardise(scores, places), profile.standardise(scores, places), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("spread", torch.zeros(KNOTS), "spreads above 0"),
        ("places", torch.linspace(1, 0, KNOTS), "ascending places"),
        ("centre", torch.full((KNOTS,), float("nan")), "not finite"),
        ("centre", torch.zeros(3), "expected"),
    ],
)
def test_a_damaged_profile_is_refused(name, value, says):
    learned = PlaceProfile.fit(*normals(100, 0)).learned()
    with pytest.raises(DetectorError, match=says):
        PlaceProfile.take({**learned, name: value})
