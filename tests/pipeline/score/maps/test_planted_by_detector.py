"""A detector's map peaks in the planted lesion, from fitting on normal scans to the scan's own millimetres."""

import sys

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from pipeline.config import Config
from pipeline.detect.fit import fit_detector
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import prepare, to_tensor
from pipeline.score.maps.planted import Lesion, read_lesions
from pipeline.watch import Watch
from tests.pipeline.score.maps.drawings import settings, stored_otherwise

BACKBONE = "resnet18@layer2"  # of random weights
NORMALS, ABNORMAL = 40, 20
WINDOW = (0.0, 1000.0)  # by the volume's own percentiles, a bright lesion would darken all slices
AS_STORED = ((0, 1, 2), (0, 0, 0))


def fitted(name, refs, preparation, folder):
    """A detector of scans that are taken for normal."""
    store = SampleStore(folder, preparation)
    assert not store.fill(list(refs))
    cases = [Case(ref, ("normal",), str(n), True, "train", (), n) for n, ref in enumerate(refs)]
    config = Config(backbone=BACKBONE, weights="none", task="one_class", precision="float32")
    backbone = build_backbone(BACKBONE, seed=0)
    found = fit_detector(name, backbone, store, cases, config=config, device=torch.device("cpu"), watch=Watch())
    return found.model


def inside(model, scan, preparation, lesion):
    sample = prepare(scan, preparation)
    maps = model.maps(to_tensor(sample.slices)).numpy()
    return lesion.holds(sample.layout.peak(sample.layout.to_source(maps)))


@pytest.fixture(scope="module")
def archive(samples, tmp_path_factory):
    """Volumes like those of the sample data, of which there are too few: normal ones, and (scan, lesion)."""
    folder = tmp_path_factory.mktemp("volumes")
    sys.path.insert(0, str(samples))
    try:
        from recipe.organ import volume
    finally:
        sys.path.remove(str(samples))
    lesions = {}
    for n in range(NORMALS + ABNORMAL):
        content, planted = volume("north", f"P{n:06d}", lesion=n >= NORMALS)
        (folder / f"{n}.nii.gz").write_bytes(content)
        if planted:
            lesions[f"{n}.nii.gz"] = Lesion(planted.centre_mm, planted.radius_mm)
    refs = {ref.source: ref for ref in scan_sources([folder])}
    scans = [(read_scan(refs[source]), lesion) for source, lesion in lesions.items()]
    return [ref for source, ref in refs.items() if source not in lesions], scans


@pytest.mark.parametrize(
    ("name", "changes"),
    [("padim", {}), ("patchcore", {}), ("padim", {"crop": "foreground"}), ("padim", {"slices": 16, "image_size": 80})],
    ids=str,
)
def test_volumes_however_they_are_stored(name, changes, archive, tmp_path):
    normals, scans = archive
    preparation = settings("volumes", window=WINDOW, **changes)
    model = fitted(name, normals, preparation, tmp_path)
    forms = (
        [AS_STORED] if changes or name == "patchcore" else [AS_STORED, ((2, 0, 1), (1, 0, 1)), ((1, 0, 2), (0, 1, 0))]
    )
    found = [
        inside(model, stored_otherwise(scan, axes, flips), preparation, lesion)
        for axes, flips in forms
        for scan, lesion in scans
    ]
    assert len(found) == ABNORMAL * len(forms)
    assert np.mean(found) >= 0.95


def test_radiographs(samples, tmp_path):
    lesions = read_lesions(samples / "lesions.csv")
    refs = {f"radiographs/{ref.source}": ref for ref in scan_sources([samples / "radiographs"]) if ref.status == "ok"}
    normals = [ref for path, ref in refs.items() if path not in lesions]
    found = []
    for n, changes in enumerate(({}, {"window": (0.0, 4095.0)}, {"crop": "foreground"})):
        preparation = settings("radiographs", image_size=96, **changes)
        model = fitted("padim", normals, preparation, tmp_path / str(n))
        found += [inside(model, read_scan(refs[p]), preparation, lesions[p]) for p in refs if p in lesions]
    assert len(found) == 180
    assert np.mean(found) >= 0.95


def test_a_detector_of_nothing_is_caught(archive, tmp_path):
    """The same with a map that does not look at the scan: its peak lies in hardly any lesion."""
    _, scans = archive
    preparation = settings("volumes", window=WINDOW)

    class Blind:
        def maps(self, slices):
            return torch.rand(len(slices), *slices.shape[-2:], generator=torch.Generator().manual_seed(0))

    assert np.mean([inside(Blind(), scan, preparation, lesion) for scan, lesion in scans]) < 0.5
