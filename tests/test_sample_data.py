"""The sample data are what their script writes, and hold what their tables say."""

import csv
import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
SCRIPT = SAMPLE / "make_sample_data.py"
FOLDERS = ("radiographs", "volumes", "ct", "broken", "incoming")


def table(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files_below(root: Path) -> set[str]:
    found = {path for top in FOLDERS for path in (root / top).rglob("*") if path.is_file()}
    return {path.relative_to(root).as_posix() for path in found} | {"lesions.csv"}


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample_data")
    done = run_script(out)
    assert done.returncode == 0, done.stderr
    return out


def inflated(content: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(content[10:])


def brightness(path: Path) -> np.ndarray:
    """The pixels of a radiograph as shown, 0..1, dense is bright."""
    ds = pydicom.dcmread(path)
    shown = (ds.pixel_array - float(ds.WindowCenter)) / float(ds.WindowWidth) + 0.5
    return np.clip(1 - shown if ds.PhotometricInterpretation == "MONOCHROME1" else shown, 0, 1)


def stands_out(values: np.ndarray, distance: np.ndarray) -> bool:
    """Whether the middle of a lesion is brighter than what surrounds it; distance in lesion radii."""
    surroundings = (distance > 1.3) & (distance < 1.8)
    return bool(values[distance < 0.6].mean() > values[surroundings].mean())


def test_script_writes_the_committed_files_byte_for_byte(written: Path) -> None:
    assert files_below(written) == files_below(SAMPLE)
    for name in sorted(files_below(SAMPLE)):
        committed, again = (SAMPLE / name).read_bytes(), (written / name).read_bytes()
        if name.endswith(".nii.gz"):  # another zlib may squeeze them differently
            shorter, longer = sorted((inflated(committed), inflated(again)), key=len)
            assert longer.startswith(shorter), name
            assert "half" in name or longer == shorter, name
        else:
            assert committed == again, name


def test_check_passes_on_its_own_output_and_names_what_was_changed(written: Path) -> None:
    assert run_script(written, "--check").returncode == 0
    target = written / "broken" / "notes.dcm"
    content = target.read_bytes()
    target.write_bytes(content + b"!")
    try:
        done = run_script(written, "--check")
    finally:
        target.write_bytes(content)
    assert done.returncode == 1
    assert done.stdout.split("\n")[0] == "changed: broken/notes.dcm"


def test_another_seed_draws_other_scans(written: Path, tmp_path: Path) -> None:
    assert run_script(tmp_path, "--seed", 1).returncode == 0
    assert (tmp_path / "lesions.csv").read_bytes() != (written / "lesions.csv").read_bytes()


def test_sample_data_stay_below_two_and_a_half_megabytes() -> None:
    assert sum((SAMPLE / name).stat().st_size for name in files_below(SAMPLE)) < 2_500_000


@pytest.mark.parametrize("folder", ["radiographs", "volumes"])
def test_no_patient_is_on_both_sides_of_the_split(folder: str) -> None:
    rows = table(f"{folder}/labels.csv")
    train, test = ({row["patient"] for row in rows if row["split"] == split} for split in ("train", "test"))
    assert not train & test
    assert {row["split"] for row in rows} == {"train", "test"}
    assert 0.3 <= len(test) / len(train | test) <= 0.36


@pytest.mark.parametrize("folder", ["radiographs", "volumes"])
def test_labels_name_every_file_and_agree_with_the_lesions(folder: str) -> None:
    rows, lesions = table(f"{folder}/labels.csv"), {row["path"] for row in table("lesions.csv")}
    present = {name for name in files_below(SAMPLE) if name.startswith(f"{folder}/") and not name.endswith(".csv")}
    assert {f"{folder}/{row['path']}" for row in rows} == present
    for row in rows:
        assert (row["label"] != "normal") == (f"{folder}/{row['path']}" in lesions)
    ill = np.mean([row["label"] != "normal" for row in rows])
    assert 0.4 < ill < 0.6


def test_headers_agree_with_the_labels_and_uids_are_unique() -> None:
    seen = set()
    for row in table("radiographs/labels.csv"):
        ds = pydicom.dcmread(SAMPLE / "radiographs" / row["path"], stop_before_pixels=True)
        assert ds.PatientID == row["patient"]
        assert (ds.Modality, ds.PhotometricInterpretation, ds.BitsStored) == (
            ("CR", "MONOCHROME2", 12) if row["site"] == "north" else ("DX", "MONOCHROME1", 10)
        )
        seen |= {ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID}
    assert len(seen) == 3 * len(table("radiographs/labels.csv"))


def test_incoming_patients_are_unseen() -> None:
    known = {row["patient"] for row in table("radiographs/labels.csv")}
    films = [path for path in (SAMPLE / "incoming").rglob("*.dcm") if path.stem not in {"cut", "empty"}]
    assert len(films) == 24
    assert not known & {str(pydicom.dcmread(path, stop_before_pixels=True).PatientID) for path in films}


def test_planted_opacities_are_brighter_than_their_surroundings() -> None:
    rows = [row for row in table("lesions.csv") if row["kind"] == "opacity"]
    bright = []
    for row in rows:
        image = brightness(SAMPLE / row["path"])
        rr, cc = np.indices(image.shape)
        distance = np.hypot(rr - float(row["row"]), cc - float(row["column"])) / float(row["radius_px"])
        bright.append(stands_out(image, distance))
    assert len(rows) > 60
    assert np.mean(bright) > 0.8


def test_planted_lesions_lie_at_their_patient_position() -> None:
    rows = [row for row in table("lesions.csv") if row["kind"] == "lesion"]
    assert len(rows) == 12
    for row in rows:
        image = nib.load(SAMPLE / row["path"])
        points = nib.affines.apply_affine(image.affine, np.moveaxis(np.indices(image.shape), 0, -1))
        centre = [float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")]
        distance = np.linalg.norm(points - centre, axis=-1) / float(row["radius_mm"])
        assert stands_out(image.get_fdata(), distance), row["path"]


def test_volume_forms_agree_and_some_are_oblique() -> None:
    oblique = 0
    for path in sorted((SAMPLE / "volumes").glob("*.nii.gz")):
        image = nib.load(path)
        assert image.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(image.get_sform(), image.get_qform(), atol=1e-4)
        oblique += bool(nib.affines.obliquity(image.affine).max() > 0.05)
    assert 3 <= oblique <= 20


def test_ct_nodule_lies_at_its_patient_position() -> None:
    (row,) = (row for row in table("lesions.csv") if row["kind"] == "nodule")
    slices = [pydicom.dcmread(path) for path in sorted((SAMPLE / "ct").glob("*.dcm"))]
    assert len(slices) == 16
    centre = np.array([-float(row["x_mm"]), -float(row["y_mm"]), float(row["z_mm"])])
    values, distances = [], []
    for ds in slices:
        along_row, down_column = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
        rr, cc = np.indices((ds.Rows, ds.Columns))[..., None]
        down, across = map(float, ds.PixelSpacing)
        corner = np.array(ds.ImagePositionPatient, float)
        points = corner + cc * across * along_row + rr * down * down_column
        values.append(ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept))
        distances.append(np.linalg.norm(points - centre, axis=-1) / float(row["radius_mm"]))
    hounsfield, distance = np.stack(values), np.stack(distances)
    assert hounsfield[distance < 0.6].mean() > -100
    assert hounsfield[(distance > 1.3) & (distance < 1.8)].mean() < -500


def test_sites_differ_in_brightness_and_contrast() -> None:
    lung = {"north": [], "south": []}
    for row in table("radiographs/labels.csv"):
        image = brightness(SAMPLE / "radiographs" / row["path"])
        middle = image[image.shape[0] // 4 : -image.shape[0] // 4, image.shape[1] // 5 : -image.shape[1] // 5]
        lung[row["site"]].append((middle.mean(), middle.std()))
    (mean_north, contrast_north), (mean_south, contrast_south) = (np.mean(lung[s], axis=0) for s in ("north", "south"))
    assert abs(mean_north - mean_south) > 0.03
    assert contrast_north > 1.2 * contrast_south


def test_broken_files_are_broken_as_described() -> None:
    broken = SAMPLE / "broken"
    assert (broken / "empty.dcm").stat().st_size == 0
    with pytest.raises(pydicom.errors.InvalidDicomError):
        pydicom.dcmread(broken / "notes.dcm")
    cut = pydicom.dcmread(broken / "cut.dcm")
    with pytest.raises(ValueError, match="pixel data"):
        _ = cut.pixel_array
    with pytest.raises(EOFError):
        gzip.decompress((broken / "half.nii.gz").read_bytes())
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        gzip.decompress((broken / "crc.nii.gz").read_bytes())
    slices = [pydicom.dcmread(path) for path in sorted((broken / "ct_gap").glob("*.dcm"))]
    normal = np.cross(*np.reshape(slices[0].ImageOrientationPatient, (2, 3)).astype(float))
    steps = np.diff(sorted(float(normal @ np.array(ds.ImagePositionPatient, float)) for ds in slices))
    np.testing.assert_allclose(sorted(steps), [7, 7, 7, 7, 14], atol=1e-3)
    assert slices[0].pixel_array.min() < 0
