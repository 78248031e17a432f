"""Every conformance file of ../shared/dicom: a known outcome for each, and the pixels of a second reader."""

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from pipeline.errors import Reason, ScanError
from pipeline.ingest.codestreams import decoder_for
from pipeline.ingest.decoders import stored_frames
from pipeline.ingest.dicom_file import open_dicom
from pipeline.ingest.headers import COLOUR
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.ingest.syntaxes import NATIVE

EXACT = NATIVE | {RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1}


@pytest.mark.shared
def test_every_file_has_a_known_outcome(shared_folder):
    refs = scan_sources([shared_folder / "dicom"])
    assert len(refs) > 200
    outcomes = [_outcome(ref) for ref in refs]
    assert set(outcomes) <= {"ok", *Reason}
    assert outcomes.count("ok") > 100


@pytest.mark.shared
def test_every_file_stands_in_a_row_and_every_row_says_why(shared_folder):
    folder = shared_folder / "dicom"
    refs = scan_sources([folder])
    assert {Path(file) for ref in refs for file in ref.files} == {path for path in folder.rglob("*") if path.is_file()}
    assert all(bool(ref.reason) == (ref.status != "ok") for ref in refs)
    stacks = [(ref.source.rpartition("/")[2], ref.status, len(ref.files)) for ref in refs if len(ref.files) > 1]
    assert ("CT5N", "ok", 5) in stacks
    assert ("SE000000", "refused", 50) in stacks
    assert Counter(status for _, status, _ in stacks)["ok"] == 1


@pytest.mark.shared
def test_file_that_aborts_a_known_decoder_costs_one_row(shared_folder):
    (ref,) = scan_sources([shared_folder / "dicom" / "crash_gdcm.dcm"])
    assert (ref.status, ref.reason.partition(":")[0]) == ("refused", "CORRUPT_FILE")
    rows = [ref for ref in scan_sources([shared_folder / "dicom"]) if ref.source == "crash_gdcm.dcm"]
    assert [(row.status, row.reason) for row in rows] == [(ref.status, ref.reason)]


@pytest.mark.shared
def test_every_file_is_what_a_second_reader_makes_of_it(shared_folder):
    """Runs the script behind docs/conformance.md, whose decoders and arithmetic are not those of `pipeline`."""
    for program in ("dcmdjpeg", "dcmdjpls", "dcmdrle"):
        if not shutil.which(program):
            pytest.skip(f"{program} of DCMTK is not installed")
    script = Path(__file__).resolve().parents[3] / "benchmarks" / "conformance.py"
    done = subprocess.run(
        [sys.executable, str(script), str(shared_folder / "dicom")], capture_output=True, text=True, check=False
    )
    assert "Differing: none" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.returncode == 0
    assert "NOT COMPARED" not in done.stdout
    assert "Equal to the uncompressed original of the same image: 28" in done.stdout


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_values_are_those_of_pydicom(shared_folder):
    compared = 0
    for path in sorted((shared_folder / "dicom").rglob("*.dcm")):
        refs = scan_sources([path])
        if len(refs) != 1 or refs[0].status != "ok" or refs[0].volume:
            continue
        expected = _by_pydicom(path)
        if expected is None:
            continue
        scan = read_scan(refs[0])
        assert not scan.inverted
        if scan.voxels.shape == expected.shape:  # else the frames of a file were split
            differ = np.abs(np.sort(scan.voxels, axis=2) - np.sort(expected, axis=2)).max()
            assert differ <= 1e-5 * max(1, np.abs(expected).max()), path.name
            compared += 1
    assert compared > 30


@pytest.mark.shared
def test_one_slice_in_seven_encodings_has_one_set_of_pixels(shared_folder):
    pixels = []
    for path in sorted((shared_folder / "dicom" / "dcm_qa_ts" / "In").glob("*.dcm")):
        with open_dicom(path) as file:  # a mosaic, which is refused as a scan
            pixels.append(next(iter(stored_frames(file, [0]))))
    assert len(pixels) == 9
    assert all(np.array_equal(image, pixels[0]) for image in pixels)


@pytest.mark.shared
def test_enhanced_mr_lies_where_its_nifti_truth_lies(shared_folder):
    folder = shared_folder / "dicom" / "dcm_qa_enh"
    truth = nib.load(folder / "Ref" / "Siemens_REST1_w_SMS_PF7-8_6.nii")
    refs = scan_sources([folder / "In" / "Siemens" / "XA10"])
    assert len(refs) == truth.shape[3] == 4
    for time, ref in enumerate(refs):
        scan = read_scan(ref)
        own = np.indices(scan.voxels.shape).reshape(3, -1)
        there = nib.affines.apply_affine(np.linalg.inv(truth.affine) @ scan.affine, own.T).T
        np.testing.assert_allclose(there, there.round(), atol=1e-3)
        i, j, k = there.round().astype(int)
        np.testing.assert_array_equal(truth.get_fdata()[i, j, k, time], scan.voxels.ravel())


@pytest.mark.shared
def test_philips_field_map_lies_where_its_nifti_truth_lies(shared_folder):
    """Magnitude and field map of one enhanced file; dcm2niix gives the magnitude in Philips' own units, by a factor."""
    folder = shared_folder / "dicom" / "dcm_qa_enh"
    magnitude, field = scan_sources([folder / "In" / "Philips"])
    for ref, name in ((magnitude, "e1"), (field, "e2_fieldmaphz")):
        truth, scan = nib.load(folder / "Ref" / f"Philips_WIP_B0_NS_801_{name}.nii"), read_scan(ref)
        own = np.indices(scan.voxels.shape).reshape(3, -1)
        there = nib.affines.apply_affine(np.linalg.inv(truth.affine) @ scan.affine, own.T).T
        np.testing.assert_allclose(there, there.round(), atol=1e-3)
        expected = truth.get_fdata()[tuple(there.round().astype(int))]
        factor = 1 if ref is field else expected.max() / scan.voxels.max()
        np.testing.assert_allclose(scan.voxels.ravel() * factor, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.shared
def test_odd_bytes_in_big_endian_words_are_in_order(shared_folder):
    folder = shared_folder / "dicom" / "pydicom" / "src" / "pydicom" / "data" / "test_files"
    names = ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm")
    little, big = (read_scan(ref) for name in names for ref in scan_sources([folder / name]))
    np.testing.assert_array_equal(big.voxels, little.voxels)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["pydicom/src/pydicom/data/test_files/CT_small.dcm", "dcm_qa_12bit/Ref/2.nii"])
def test_damage_never_escapes(tmp_path, shared_folder, name):
    whole = (shared_folder / "dicom" / name).read_bytes()
    chance = random.Random(0)
    path = tmp_path / Path(name).name
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 4, 30])):
            content[chance.randrange(min(len(content), 3000))] = chance.randrange(256)
        path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        for ref in scan_sources([tmp_path]):
            assert _outcome(ref) in {"ok", *Reason}


def _outcome(ref):
    if ref.status != "ok":
        return ref.reason.partition(":")[0]
    try:
        scan = read_scan(ref)
    except ScanError as error:
        return error.code
    assert scan.voxels.shape[:3] == ref.shape
    assert scan.geometry == ref.geometry
    return "ok"


def _by_pydicom(path):
    """Grey voxels (I, J, K) as pydicom reads and rescales them; None for what it cannot, or what is lossy."""
    ds = pydicom.dcmread(path, force=True)
    simple = ds.get("PhotometricInterpretation") not in COLOUR and "ModalityLUTSequence" not in ds
    grouped = "SharedFunctionalGroupsSequence" in ds
    inverted = ds.get("PhotometricInterpretation") == "MONOCHROME1"
    if not simple or grouped or inverted or ds.file_meta.get("TransferSyntaxUID") not in EXACT:
        return None
    decoder_for(ds.file_meta.TransferSyntaxUID)  # so that pydicom has one for each
    pixels = ds.pixel_array.astype(float) * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
    return pixels.reshape(-1, *pixels.shape[-2:]).transpose(2, 1, 0)
