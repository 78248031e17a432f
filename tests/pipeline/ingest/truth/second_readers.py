"""Other people's readers, asked only where they are right, so that the truth of a case is proven too."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from tests.pipeline.ingest.truth.case import HIGHDICOM, MONAI, NIBABEL, SITK, Truth, signed_permutation
from tests.pipeline.ingest.truth.dicom import LPS_TO_RAS

Image = tuple[np.ndarray, np.ndarray]  # voxels (I, J, K[, 3]) and RAS+ affine


def assert_proved(reader: str, folder: Path, volumes: Sequence[Truth]) -> None:
    """Check that a reader finds each volume, with its axes in whatever order and direction."""
    found = list(READERS[reader](folder))
    assert len(found) == len(volumes)
    for truth in volumes:
        assert any(_same(image, truth) for image in found), f"{reader} reads something else"


def _same(image: Image, truth: Truth) -> bool:
    voxels, affine = image
    if truth.affine is None:
        return voxels.shape == truth.voxels.shape and bool((np.abs(voxels - truth.voxels) <= truth.tolerance).all())
    own_to_theirs = np.linalg.inv(affine) @ truth.affine
    if not signed_permutation(own_to_theirs[:3, :3]):
        return False
    grid = np.indices(truth.voxels.shape[:3]).reshape(3, -1)
    there = own_to_theirs[:3, :3] @ grid + own_to_theirs[:3, 3:]
    index = np.rint(there).astype(int)
    inside = (index >= 0).all() and (index < np.array(voxels.shape[:3])[:, None]).all()
    if np.prod(voxels.shape[:3]) != np.prod(truth.voxels.shape[:3]) or not inside:
        return False
    near = np.abs(there - index).max() < 0.02
    values = voxels[tuple(index)].reshape(truth.voxels.shape)
    return bool(near and np.allclose(values, truth.voxels, rtol=1e-6, atol=max(truth.tolerance, 1e-4)))


def _highdicom(folder: Path) -> Iterator[Image]:
    hd = pytest.importorskip("highdicom")
    sets = [pydicom.dcmread(path, force=True) for path in sorted(folder.rglob("*")) if path.is_file()]
    for uid in sorted({made.SeriesInstanceUID for made in sets}):
        series = [made for made in sets if made.SeriesInstanceUID == uid]
        if "PerFrameFunctionalGroupsSequence" in series[0]:
            volume = hd.Image.from_dataset(series[0]).get_volume(apply_presentation_lut=False, dtype=np.float32)
        else:
            volume = hd.get_volume_from_series(series, apply_presentation_lut=False, dtype=np.float32)
        yield volume.array, LPS_TO_RAS @ volume.affine


def _simpleitk(folder: Path) -> Iterator[Image]:
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for home in sorted({path.parent for path in files}):
        names = [path for path in files if path.parent == home]
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(home)) if len(names) > 1 else ()
        if not uids:
            yield from (_of_sitk(sitk.ReadImage(str(name))) for name in names)
        for uid in uids:
            series = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(home), uid)
            yield _of_sitk(sitk.ReadImage(series))


def _of_sitk(image) -> Image:
    sitk = pytest.importorskip("SimpleITK")
    voxels = sitk.GetArrayFromImage(image).astype(np.float64)
    colour = image.GetNumberOfComponentsPerPixel() > 1
    if image.GetDimension() == 2:
        return voxels[None].transpose((2, 1, 0, 3) if colour else (2, 1, 0)), np.eye(4)
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return voxels.transpose((2, 1, 0, 3) if colour else (2, 1, 0)), LPS_TO_RAS @ lps


def _nibabel(folder: Path) -> Iterator[Image]:
    for path in sorted(folder.iterdir()):
        image = nib.load(path)
        factor = {"unknown": 1, "meter": 1000, "mm": 1, "micron": 1e-3}[image.header.get_xyzt_units()[0]]
        stored = np.asanyarray(image.dataobj)
        if stored.dtype.names:
            stored = np.stack([stored[name] for name in stored.dtype.names], axis=-1)[..., None, :]
        stored = stored.reshape(*stored.shape, *[1] * (4 - stored.ndim))
        for n in range(stored.shape[3]):
            yield stored[:, :, :, n].astype(np.float64), np.diag([factor] * 3 + [1.0]) @ image.affine


def _monai(folder: Path) -> Iterator[Image]:
    reader = pytest.importorskip("monai.data.image_reader").PydicomReader(swap_ij=True, affine_lps_to_ras=True)
    voxels, meta = reader.get_data(reader.read(str(folder)))
    yield voxels, np.asarray(meta["affine"], dtype=float)


READERS = {HIGHDICOM: _highdicom, SITK: _simpleitk, NIBABEL: _nibabel, MONAI: _monai}
