import csv
import dataclasses
import stat

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import MapError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.device import choose_device
from pipeline.score.listing import INDEX
from pipeline.score.maps.drawing import FixedDraw
from pipeline.score.maps.of_bundle import write_heatmaps
from pipeline.score.maps.planted import read_lesions
from pipeline.score.maps.write import HEADER, NO_MAP, MapWriter
from pipeline.score.origin import Origin
from pipeline.score.scorer import load_scorer
from tests.pipeline.score.maps.drawings import ABNORMAL, bright_and_deep, settings

ORIGIN = Origin("ab" * 32, b"k" * 32)


def table(folder):
    with (folder / INDEX).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def writer(out, source, kind="radiographs", **changes):
    return MapWriter(FixedDraw(source, "anomaly", 0.5), settings(kind), out, ORIGIN, **changes)


def spot(slices):
    """A spot in the upper left quarter."""
    maps = torch.zeros(len(slices), *slices.shape[-2:])
    maps[:, 12:20, 12:20] = 1
    return maps


@pytest.fixture(scope="module")
def volumes(sample_scans):
    return [(ref, ABNORMAL) for path, (ref, _) in sample_scans.items() if path.startswith("volumes/N8")]


@pytest.fixture(scope="module")
def radiographs(sample_scans):
    return [(ref, ABNORMAL) for path, (ref, _) in sample_scans.items() if path.startswith("radiographs/")][:3]


def test_a_volumes_map_is_nifti_in_the_scans_own_affine_with_its_peak_in_the_lesion(
    volumes, sample_scans, samples, tmp_path
):
    lesions = read_lesions(samples / "lesions.csv")
    rows = writer(tmp_path, bright_and_deep, "volumes").write(volumes)
    assert len(rows) >= 2
    for row in rows:
        scan = sample_scans[f"volumes/{row.source}"][1]
        image = nib.load(tmp_path / row.nifti)
        heat = np.asarray(image.dataobj)
        assert image.get_data_dtype() == np.float32
        assert heat.shape == scan.voxels.shape
        np.testing.assert_allclose(image.get_sform(), scan.affine, atol=1e-4)
        np.testing.assert_allclose(image.get_qform(), scan.affine, atol=1e-3)
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
        voxel = np.unravel_index(heat.argmax(), heat.shape)
        assert row.peak.voxel == voxel
        mm = nib.affines.apply_affine(image.affine, voxel)
        lesion = lesions[f"volumes/{row.source}"]
        assert np.linalg.norm(mm - lesion.centre) <= lesion.radius
        np.testing.assert_allclose(row.peak.mm, mm, atol=1e-3)


def test_index_csv_is_private_and_says_which_file_is_whose(volumes, radiographs, tmp_path):
    steps = []
    written = writer(tmp_path, spot).write(radiographs, steps.append)
    assert steps == [1, 1, 1]
    assert stat.S_IMODE((tmp_path / INDEX).stat().st_mode) == 0o600
    rows = table(tmp_path)
    assert list(rows[0]) == HEADER
    assert [row["source"] for row in rows] == sorted(ref.source for ref, _ in radiographs)
    uids = {ref.source: ref.series_uid for ref, _ in radiographs}
    for row, line in zip(rows, written, strict=True):
        assert row["series_uid"] == uids[row["source"]]
        assert (row["class"], row["anomaly_score"]) == ("anomaly", "0.9000")
        assert [int(row[f"peak_{axis}"]) for axis in "ijk"] == list(line.peak.voxel)
        assert row["peak_x_mm"] == ""  # a radiograph lies in no patient
        assert row["nifti"] == row["dicom"] == row["note"] == ""
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {INDEX, *(row["png"] for row in rows)}
    assert not any(uid in name or source in name for name in names for source, uid in uids.items())


def test_the_picture_has_the_radiographs_own_proportions_and_no_text(sample_scans, tmp_path):
    ref, scan = next((r, s) for p, (r, s) in sample_scans.items() if p.startswith("radiographs/south"))
    assert scan.voxels.shape == (88, 104, 1)
    (row,) = writer(tmp_path, spot).write([(ref, ABNORMAL)])
    with Image.open(tmp_path / row.png) as picture:
        assert picture.size == (round(480 * 88 / 104) + 76, 480)
        assert not picture.info
        pixels = np.asarray(picture).astype(int)
    warm = pixels[..., 0] - pixels[..., 2] > 60
    rows, columns = np.nonzero(warm[:, : round(480 * 88 / 104)])
    assert rows.mean() / 480 == pytest.approx(0.25, abs=0.02)
    assert columns.mean() / (480 * 88 / 104) == pytest.approx(0.25, abs=0.02)


def test_the_same_maps_give_the_same_bytes(volumes, tmp_path):
    for name in ("one", "two"):
        writer(tmp_path / name, bright_and_deep, "volumes").write(volumes[:1])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_flat_map_has_no_peak_and_says_so(radiographs, tmp_path):
    (row,) = writer(tmp_path, lambda s: torch.ones(len(s), 64, 64)).write(radiographs[:1])
    assert row.peak is None
    assert row.note == "the map has one value everywhere"
    assert table(tmp_path)[0]["peak_i"] == ""


def test_one_bad_scan_or_map_stops_nothing_and_is_listed(incoming, tmp_path):
    refs = [ref for ref in scan_sources([incoming]) if ref.status == "ok"][:4]
    for file in refs[1].files:
        (incoming / file).unlink()
    calls = []

    def source(slices):
        calls.append(len(calls))
        if calls[-1] == 1:
            raise MapError("no map of this one")
        return torch.full((1, 64, 64), float("nan")) if calls[-1] == 2 else spot(slices)

    rows = writer(tmp_path / "out", source).write([(ref, ABNORMAL) for ref in refs])
    notes = {row.source: row.note for row in rows}
    assert notes[refs[0].source] == ""
    assert "no longer there" in notes[refs[1].source]
    assert notes[refs[2].source] == "no map of this one"
    assert "not finite" in notes[refs[3].source]
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


def test_maps_of_another_shape_are_refused(radiographs, tmp_path):
    (row,) = writer(tmp_path, lambda s: torch.zeros(len(s), 8, 8)).write(radiographs[:1])
    assert row.note == "the model drew maps of shape (1, 8, 8), expected (1, 64, 64)"


def test_series_of_one_uid_but_other_content_keep_both_maps(radiographs, tmp_path):
    pair = [(dataclasses.replace(ref, series_uid="1.2.3"), outcome) for ref, outcome in radiographs[:2]]
    rows = writer(tmp_path, spot).write(pair)
    assert rows[0].png != rows[1].png


def test_a_classifiers_heat_maps_are_grad_cams(radiograph_bundle, radiographs, tmp_path):
    scorer = load_scorer(radiograph_bundle, choose_device("cpu"))
    rows = write_heatmaps(scorer, radiographs[:1], tmp_path, b"k" * 32)
    assert rows[0].about == "opacity"
    assert rows[0].peak.value == pytest.approx(1, abs=0.05)


def test_files_of_an_earlier_run_that_are_named_no_more_are_deleted(radiographs, tmp_path):
    writer(tmp_path, spot, dicom="segmentation").write(radiographs)
    before = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "mine.png").touch()
    (tmp_path / "0123456789ab.png").touch()  # like one of its own, but the index never named it
    rows = writer(tmp_path, spot).write(radiographs[:1])
    assert {path.name for path in tmp_path.iterdir()} == {INDEX, rows[0].png, "mine.png", "0123456789ab.png"}
    assert len([name for name in before if name.endswith(".dcm")]) == 3


def test_an_index_from_elsewhere_deletes_nothing_outside(radiographs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "0123456789ab.png").touch()
    (tmp_path / "out" / INDEX).write_text("png,nifti,dicom\n../0123456789ab.png,,index.csv\n")
    writer(tmp_path / "out", spot).write(radiographs[:1])
    assert (tmp_path / "0123456789ab.png").exists()
    assert (tmp_path / "out" / INDEX).exists()


def test_a_model_without_maps_reads_no_scan_and_says_so(radiographs, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.score.maps.write.read_scan", None)
    rows = MapWriter(None, settings("radiographs"), tmp_path, ORIGIN).write(radiographs)
    assert {row.note for row in rows} == {NO_MAP}
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]


def test_what_fails_half_way_leaves_no_file(volumes, tmp_path, monkeypatch):
    def full(path, _scan):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.score.maps.write.write_nifti", full)
    rows = writer(tmp_path, bright_and_deep, "volumes").write(volumes)
    assert {row.note for row in rows} == {"UNREADABLE: No space left on device"}
    assert {row.png + row.nifti for row in rows} == {""}
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]


def test_memory_that_runs_out_is_that_series_alone(radiographs, tmp_path):
    def greedy(slices):
        raise torch.OutOfMemoryError("CUDA out of memory")

    rows = writer(tmp_path, greedy).write(radiographs)
    assert {row.note for row in rows} == {"OVER_BUDGET: not enough memory to draw it now"}
