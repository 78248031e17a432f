"""The peak of a map lies in the lesion that was planted, at its pixel or millimetre, after every preparation."""

import csv

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.prepare.way_back import Peak
from pipeline.score.maps.planted import Lesion, read_lesions
from tests.pipeline.score.maps.drawings import (
    above_normals,
    bright_and_deep,
    dense_in_lung,
    settings,
    slices_of,
    stored_otherwise,
)


@pytest.fixture(scope="module")
def lesions(samples):
    return read_lesions(samples / "lesions.csv")


def peak_of(scan, preparation, source):
    sample = prepare(scan, preparation)
    return sample.layout.peak(sample.layout.to_source(source(to_tensor(sample.slices)).numpy()))


@pytest.mark.parametrize("site", ["north", "south"])
def test_radiographs(site, sample_scans, samples, lesions):
    preparation = settings("radiographs")
    with (samples / "radiographs" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["site"] == site]
    paths = {f"radiographs/{row['path']}": row["label"] for row in rows}
    normals = [slices_of(sample_scans[p][1], preparation) for p, name in paths.items() if name == "normal"]
    source = above_normals(normals)
    inside = [
        lesions[p].holds(peak_of(sample_scans[p][1], preparation, source)) for p, name in paths.items() if p in lesions
    ]
    assert len(inside) == 30
    assert np.mean(inside) >= 0.95


@pytest.mark.parametrize("changes", [{}, {"crop": "foreground"}, {"slices": 8, "image_size": 48}], ids=str)
@pytest.mark.parametrize(
    ("axes", "flips"),
    [((0, 1, 2), (0, 0, 0)), ((2, 0, 1), (1, 0, 1)), ((1, 0, 2), (0, 1, 0))],
)
def test_volumes_however_they_are_stored(changes, axes, flips, sample_scans, lesions):
    preparation = settings("volumes", **changes)
    planted = {path: lesion for path, lesion in lesions.items() if path.startswith("volumes/")}
    inside = [
        lesion.holds(peak_of(stored_otherwise(sample_scans[path][1], axes, flips), preparation, bright_and_deep))
        for path, lesion in planted.items()
    ]
    assert len(inside) == 12
    assert all(inside)


def test_a_tilted_ct(sample_scans, lesions):
    for crop in ("none", "foreground"):
        preparation = settings("ct", crop=crop)
        assert lesions["ct"].holds(peak_of(sample_scans["ct"][1], preparation, dense_in_lung))


def test_inside_is_within_the_radius():
    """Row 10 and column 20 is voxel i = 20, j = 10."""
    pixel = Lesion((10.0, 20.0), 5.0)
    assert pixel.holds(Peak((23, 14, 0), None, 1.0))
    assert not pixel.holds(Peak((24, 14, 0), None, 1.0))
    assert not pixel.holds(Peak((10, 20, 0), None, 1.0))
    ball = Lesion((1.0, 2.0, 3.0), 7.0)
    assert ball.distance(Peak((0, 0, 0), (3.0, 5.0, 9.0), 1.0)) == 7.0
    assert not ball.holds(Peak((1, 2, 3), None, 1.0))


def test_a_file_that_is_no_lesions_csv_is_refused(tmp_path):
    (tmp_path / "lesions.csv").write_text("path,label\na,b\n")
    with pytest.raises(SourceError, match=r"not a lesions\.csv"):
        read_lesions(tmp_path / "lesions.csv")
