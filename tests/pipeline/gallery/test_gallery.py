from dataclasses import replace

import numpy as np
import pytest

from models.bundle import open_bundle
from pipeline.errors import MapError
from pipeline.evaluate.predictions import PredictionTable
from pipeline.gallery.gallery import make_gallery
from pipeline.ingest.scan_folder import scan_sources
from pipeline.model_record import read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.score.maps.drawing import Drawn
from pipeline.watch import Watch


@pytest.fixture(scope="module")
def shown(samples, radiograph_bundle, tmp_path_factory):
    """Twelve prepared radiographs with made-up predictions, and what draws their heat."""
    record = read_record(open_bundle(radiograph_bundle))
    store = SampleStore(tmp_path_factory.mktemp("gallery"), record.preparation)
    refs = [ref for ref in scan_sources([samples / "radiographs" / "north"]) if ref.status == "ok"][:12]
    store.fill(refs)
    labels = np.arange(12) % 2
    cases = [
        Case(ref, (record.classes[label],), f"Mueller_{n}", True, "test", (), n)
        for n, (ref, label) in enumerate(zip(refs, labels, strict=True))
    ]
    score = np.linspace(0.05, 0.95, 12)
    probability = np.stack([1 - score, score], axis=1)
    table = PredictionTable(
        classes=record.classes,
        task="multiclass",
        truth=np.eye(2, dtype=np.int8)[labels],
        probability=probability,
        uncalibrated=probability,
        anomaly_score=score,
        patient=tuple(f"p{n}" for n in range(12)),
        groups={"site": tuple(["north"] * 12)},
    )
    return cases, table, record, store


def heat(slices, outcome):
    assert outcome.probability
    found = np.zeros((len(slices), *slices.shape[-2:]), np.float32)
    found[:, :9, :9] = 1
    return Drawn(found, "opacity", None)


def test_every_label_has_its_hits_and_misses_with_what_is_told_of_them(shown):
    found = make_gallery(*shown, heat, Watch())
    assert [(len(shelf.hits), len(shelf.misses)) for shelf in found.shelves] == [(3, 3), (3, 3)]
    assert (found.no_room, found.heat, found.volumes) == (0, True, False)
    worst = found.shelves[0].misses[0]
    assert (worst.label, worst.predicted, worst.site, worst.about) == ("normal", "opacity", "north", "opacity")
    assert worst.numbers == (
        ("normal", pytest.approx(1 - shown[1].anomaly_score[10])),
        ("opacity", pytest.approx(shown[1].anomaly_score[10])),
    )
    assert "Mueller" not in repr(found)


def test_the_page_stays_within_its_bound_and_each_side_keeps_its_first(shown):
    sizes = [
        one.picture.size
        for shelf in make_gallery(*shown, heat, Watch()).shelves
        for one in (*shelf.hits, *shelf.misses)
    ]
    bound = int(4.5 * max(sizes))
    found = make_gallery(*shown, heat, Watch(), most_bytes=bound)
    kept = [one.picture.size for shelf in found.shelves for one in (*shelf.hits, *shelf.misses)]
    assert sum(kept) <= bound
    assert found.no_room == 12 - len(kept) > 0
    assert all(shelf.hits and shelf.misses for shelf in found.shelves)


def test_a_model_without_a_map_shows_the_scan_alone(shown):
    def fails(slices, outcome):
        raise MapError("none")

    for draws in (None, fails):
        found = make_gallery(*shown, draws, Watch())
        assert not found.heat
        assert found.shelves[0].hits[0].picture.heat == found.shelves[0].hits[0].about == ""


def test_a_site_whose_figures_are_withheld_is_not_named(shown):
    cases, table, record, store = shown
    sites = {n: "elsewhere" if n in (10, 11) else "north" for n in range(12)}
    found = make_gallery(cases, replace(table, groups={"site": tuple(sites.values())}), record, store, heat, Watch())
    told = [one.site for shelf in found.shelves for one in (*shelf.hits, *shelf.misses)]
    assert set(told) == {"north", ""}
    assert "elsewhere" not in repr(found)
    few = replace(table, patient=tuple(f"p{n % 9}" for n in range(12)))
    assert "north" not in repr(make_gallery(cases, few, record, store, heat, Watch()))
