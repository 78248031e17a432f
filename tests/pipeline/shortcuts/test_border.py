import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.shortcuts.border import CHUNK, border_ablation, border_alone, border_width, without_border
from pipeline.shortcuts.wording import border_verdict

SIDE = 40
WIDTH = border_width(SIDE)


def noise(rng, *, slices=1, channels=1):
    return rng.integers(10_000, 30_000, (slices, channels, SIDE, SIDE)).astype(np.uint16)


def inside(width=WIDTH):
    return np.s_[..., width:-width, width:-width]


def outside(width=WIDTH):
    mask = np.ones((SIDE, SIDE), bool)
    mask[inside(width)] = False
    return mask


def test_the_border_is_a_tenth_of_the_side_at_each_edge():
    assert [border_width(size) for size in (4, 32, 40, 224)] == [1, 3, 4, 22]


def test_without_border_nothing_of_it_is_left():
    rng = np.random.default_rng(0)
    one = noise(rng, slices=3, channels=3)
    other = one.copy()
    other[..., outside()] = 65_535
    assert (without_border(one, WIDTH) == without_border(other, WIDTH)).all()
    assert (without_border(one, WIDTH)[inside()] == one[inside()]).all()


def test_the_border_holds_the_local_mean_of_the_inside():
    """Left half 100, right half 300: each side's border is its own half's; worked out by hand at a corner too."""
    slices = np.full((1, 1, SIDE, SIDE), 100, np.uint16)
    slices[..., SIDE // 2 :] = 300
    found = without_border(slices, WIDTH)
    assert (found[..., :WIDTH] == 100).all()
    assert (found[..., -WIDTH:] == 300).all()
    slices[0, 0, WIDTH, WIDTH] = 100 + 25 * 100  # one of the 5 x 5 inside pixels near the corner
    assert (without_border(slices, WIDTH)[0, 0, :WIDTH, :WIDTH] == 200).all()


def test_of_the_border_alone_nothing_of_the_inside_is_left():
    one = noise(np.random.default_rng(1), slices=2, channels=3)
    found = border_alone(one, WIDTH, 77)
    assert (found[inside()] == 77).all()
    assert (found[..., outside()] == one[..., outside()]).all()


def corner(samples):
    return np.array([[s[:, :, :WIDTH, :WIDTH].mean()] for s in samples])


def centre(samples):
    return np.array([[s[:, :, 16:24, 16:24].mean()] for s in samples])


class Shelf:
    """Made-up scans of ill and healthy patients, two scans each; remembers how many were held at once."""

    def __init__(self, *, marker=0, lesion=0, count=120, slices=1):
        rng = np.random.default_rng(2)
        self.patient = np.arange(count) // 2
        self.truth = (self.patient % 2 == 1)[:, None]
        self.scans = []
        for ill in self.truth[:, 0]:
            scan = noise(rng, slices=slices)
            scan[:, :, :WIDTH, :WIDTH] += np.uint16(marker * ill)
            scan[:, :, 14:26, 14:26] += np.uint16(lesion * ill)
            self.scans.append(scan)
        self.most = 0

    def ablate(self, score):
        def counted(samples):
            self.most = max(self.most, len(samples))
            return score(samples)

        intact = score(self.scans)
        found = border_ablation(
            counted, lambda n: self.scans[n], intact, self.truth, self.patient, seed=0, resamples=400
        )
        return found, border_verdict(found)


def test_a_model_that_reads_a_corner_marker_is_found():
    shelf = Shelf(marker=20_000, lesion=3_000)
    found, (claimed, sentence) = shelf.ablate(corner)
    assert found["intact"]["value"] == found["border_alone"]["value"] == 1
    assert found["border_alone"]["low"] > 0.85
    assert found["lost"]["low"] > 0.1
    assert claimed
    assert sentence.startswith("The border alone gives the label away: AUROC 1.000")
    assert shelf.most == CHUNK


def test_a_model_that_looks_at_the_lesion_is_not_accused():
    """Also where a marker gives the label away that the model does not look at."""
    for marker in (0, 20_000):
        found, (claimed, sentence) = Shelf(marker=marker, lesion=10_000).ablate(centre)
        assert not claimed
        assert found["intact"]["value"] == found["without_border"]["value"] == 1
        assert found["border_alone"]["value"] == 0.5
        assert sentence.startswith("The border alone is not shown to tell the label")


def test_volumes_and_several_classes_are_measured_as_scikit_learn_does():
    shelf = Shelf(marker=500, lesion=0, slices=3)
    shelf.truth = np.hstack([~shelf.truth, shelf.truth])
    both = lambda samples: np.hstack([-corner(samples), corner(samples)])  # noqa: E731
    found, _ = shelf.ablate(both)
    level = round(float(np.mean([s[inside()].mean() for s in shelf.scans])))
    for name, scans in (
        ("intact", shelf.scans),
        ("without_border", [without_border(s, WIDTH) for s in shelf.scans]),
        ("border_alone", [border_alone(s, WIDTH, level) for s in shelf.scans]),
    ):
        assert found[name]["value"] == pytest.approx(roc_auc_score(shelf.truth, both(scans), average="macro"), abs=1e-6)
    assert found["lost"]["value"] == pytest.approx(found["intact"]["value"] - found["without_border"]["value"])


def test_one_label_alone_is_not_judged():
    shelf = Shelf()
    shelf.truth = np.zeros_like(shelf.truth)
    found, (claimed, sentence) = shelf.ablate(centre)
    assert found["border_alone"]["value"] is None
    assert (claimed, sentence) == (
        False,
        "The border could not be judged: no class has both positive and negative rows.",
    )


def test_a_model_that_sees_both_is_found_by_what_the_border_alone_gives():
    score = lambda samples: centre(samples) + 0.3 * corner(samples)  # noqa: E731
    assert Shelf(marker=20_000, lesion=2_000).ablate(score)[1][0]
    assert not Shelf(marker=0, lesion=2_000).ablate(score)[1][0]


def number(value, half):
    return {"value": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
    ("alone", "lost", "claimed", "words"),
    [
        (number(0.75, 0.1), number(0.0, 0.1), True, "gives the label away"),
        (number(0.68, 0.1), number(0.0, 0.1), False, "says a little"),
        (number(0.5, 0.1), number(0.2, 0.1), False, "the model does worse without it"),
        (number(0.5, 0.1), number(0.1, 0.1), False, "not shown to tell the label: AUROC"),
    ],
)
def test_what_is_said(alone, lost, claimed, words):
    found = {"border_alone": alone, "lost": lost, "intact": number(0.9, 0), "without_border": number(0.8, 0)}
    judged, sentence = border_verdict(found)
    assert judged == claimed
    assert words in sentence
