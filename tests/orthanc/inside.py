"""The round trip with a real Orthanc: store, query, pull by each way, score. Run by test_orthanc.py."""

import csv
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from pipeline.score.folder import finish, score_folder
from pipeline.score.place import state_folder
from pipeline.watch import Watch
from tests.orthanc.launch import DICOM_PORT, HTTP_PORT, MOVE_PORT

WEB = f"http://127.0.0.1:{HTTP_PORT}/dicom-web"
NODE = f"dicom://ORTHANC@127.0.0.1:{DICOM_PORT}"
COUNTED = {"Level": "Study", "Query": {}}
SCANSHIFT = Path(sys.executable).with_name("scanshift")
WAYS = {
    "dicomweb": ["--from", WEB],
    "get": ["--from", NODE],
    "move": ["--from", NODE, "--method", "move", "--port", str(MOVE_PORT)],
}


def readable(folder):
    """The images of a folder by SOP Instance UID."""
    images = {}
    for path in sorted(folder.rglob("*.dcm")):
        try:
            image = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        images[str(image.SOPInstanceUID)] = image
    return images


def store_by_dimse(images):
    """C-STORE, each in its own transfer syntax."""
    entity = AE("MODALITY")
    for sop_class, syntax in {(image.SOPClassUID, image.file_meta.TransferSyntaxUID) for image in images}:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", DICOM_PORT, ae_title="ORTHANC")
    assert association.is_established
    assert [association.send_c_store(image).Status for image in images] == [0] * len(images)
    association.release()


def store_by_stow(images, folder):
    """STOW-RS, all in one request."""
    boundary = uuid.uuid4().hex
    body = b""
    for number, image in enumerate(images):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        body += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body += (folder / f"{number}.dcm").read_bytes() + b"\r\n"
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    answer = httpx.post(f"{WEB}/studies", content=body + f"--{boundary}--".encode(), headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text


def volume():
    """A CT series of 12 slices."""
    draw = np.random.default_rng(5)
    for k in range(12):
        image = pydicom.Dataset()
        image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.826.0.1.99.{k + 1}"
        image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.826.0.1.1", "1.2.826.0.1.2"
        image.FrameOfReferenceUID = "1.2.826.0.1.3"
        image.PatientID, image.PatientName, image.StudyDate = "CT-7", "Secret^Name", "20260115"
        image.Modality, image.SeriesDescription, image.InstanceNumber = "CT", "thorax lung", k + 1
        image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 2.5 * k], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing = [1, 1]
        image.Rows, image.Columns, image.SamplesPerPixel = 16, 16, 1
        image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelData = draw.integers(0, 4096, 256, dtype=np.uint16).tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        yield image


@pytest.fixture(scope="session")
def stored(samples, tmp_path_factory):
    """What was stored in Orthanc: half by C-STORE, half by STOW."""
    radiographs = readable(samples / "incoming")
    images = [*radiographs.values(), *volume()]
    store_by_dimse(images[::2])
    store_by_stow(images[1::2], tmp_path_factory.mktemp("stow"))
    return {str(image.SOPInstanceUID): image for image in images}


def scanshift(*arguments):
    """Run a command; its last lines, and all it said."""
    done = subprocess.run([SCANSHIFT, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for planted in ("Secret", "CT-7", "1.2.826", "2.25."):
        assert planted not in done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="session", params=WAYS)
def pulled(request, stored, tmp_path_factory):
    """Everything, pulled one way."""
    folder = tmp_path_factory.mktemp(request.param) / "incoming"
    said = scanshift("pull", folder, *WAYS[request.param])
    series = {str(image.SeriesInstanceUID) for image in stored.values()}
    assert said == [f"objects: {len(stored)} stored", f"series: {len(series)} complete", "0 objects missing"]
    return request.param, folder


def test_every_image_comes_with_equal_pixels(stored, pulled):
    found = readable(pulled[1])
    assert found.keys() == stored.keys()
    for uid, image in stored.items():
        if image.file_meta.TransferSyntaxUID == found[uid].file_meta.TransferSyntaxUID:
            assert found[uid].PixelData == image.PixelData  # one sample is truncated, and stays so
        else:
            assert np.array_equal(found[uid].pixel_array, image.pixel_array)
        assert found[uid].PatientID == image.PatientID


def test_what_was_compressed_stays_as_it_was_stored(stored, pulled):
    if pulled[0] == "get":
        return  # a PACS may choose: this one sends by C-GET what is uncompressed
    found = readable(pulled[1])
    here = Counter(str(image.file_meta.TransferSyntaxUID) for image in found.values())
    assert here == Counter(str(image.file_meta.TransferSyntaxUID) for image in stored.values())


def test_names_tell_nothing_and_are_the_same_whichever_way(stored, pulled):
    names = "".join(path.relative_to(pulled[1]).as_posix() for path in pulled[1].rglob("*"))
    assert not [word for word in (*stored, "CT-7", "Secret", "1.2.826") if word in names]
    assert {path.stat().st_mode & 0o777 for path in pulled[1].rglob("*.dcm")} == {0o600}


def test_a_second_pull_fetches_nothing(pulled):
    way, folder = pulled
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")}
    assert scanshift("pull", folder, *WAYS[way])[0] == "objects: nothing found"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")} == before


def test_a_series_that_grew_is_fetched_again(pulled, tmp_path):
    way, _ = pulled
    images = list(volume())
    number = list(WAYS).index(way)
    for image in images:
        image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.826.1.{number}", f"1.2.826.2.{number}"
        image.SOPInstanceUID += f".9{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientID = f"GROWS-{way}"
    store_by_dimse(images[:5])
    wanted = ["--study", images[0].StudyInstanceUID]
    assert scanshift("pull", tmp_path / "in", *WAYS[way], *wanted)[0] == "objects: 5 stored"
    store_by_dimse(images[5:])
    assert scanshift("pull", tmp_path / "in", *WAYS[way], *wanted)[0] == "objects: 5 repeated, 7 stored"
    found = httpx.post(f"http://127.0.0.1:{HTTP_PORT}/tools/lookup", content=images[0].StudyInstanceUID).json()
    for study in found:
        httpx.delete(f"http://127.0.0.1:{HTTP_PORT}{study['Path']}")


@pytest.mark.parametrize("way", ["dicomweb", "get"])
def test_filters(stored, way, tmp_path):
    def count(*arguments):
        return scanshift("pull", tmp_path, *WAYS[way], "--dry-run", *arguments)

    def of(condition):
        return len({str(image.SeriesInstanceUID) for image in stored.values() if condition(image)})

    assert count("--modality", "CT") == ["1 series, 12 images"]
    assert count("--modality", "DX")[0].startswith(f"{of(lambda image: image.Modality == 'DX')} series")
    assert count("--patient", "CT-7") == ["1 series, 12 images"]
    assert count("--patient", "NOBODY") == ["0 series, 0 images"]
    assert count("--since", "2026-01-01") == ["1 series, 12 images"]
    assert count("--until", "2025-12-31")[0].startswith(f"{of(lambda image: image.StudyDate < '2026')} series")
    assert count("--since", "20260115", "--until", "20260115") == ["1 series, 12 images"]
    assert count("--description", "thorax*") == ["1 series, 12 images"]
    assert count("--study", "1.2.826.0.1.1", "--series", "1.2.826.0.1.2") == ["1 series, 12 images"]
    assert count("--limit", "3")[0].startswith("3 series")


def test_move_to_a_listener_that_runs_already(stored, tmp_path):
    port = str(MOVE_PORT + 1)
    arguments = ["listen", tmp_path, "--aet", "LISTENER", "--port", port, "--allow", "ORTHANC@127.0.0.1"]
    listener = subprocess.Popen([SCANSHIFT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert listener.stderr.readline() == f"listening on 127.0.0.1 port {port} as LISTENER\n"
        wanted = ["--method", "move", "--destination", "LISTENER", "--patient", "CT-7"]
        assert "series: 1 complete" in scanshift("pull", tmp_path, "--from", NODE, *wanted)
    finally:
        listener.terminate()
        out, _ = listener.communicate(timeout=60)
    assert (listener.returncode, out) == (0, "12 stored\n")
    assert len(readable(tmp_path)) == 12


def test_pulled_radiographs_are_scored(stored, samples, radiograph_bundle, tmp_path):
    for modality in ("CR", "DX"):
        scanshift("pull", tmp_path / "in", *WAYS["dicomweb"], "--modality", modality)
    scanshift("score", tmp_path / "in", "--bundle", radiograph_bundle, "-o", tmp_path / "out")
    score_folder(samples / "incoming", radiograph_bundle, tmp_path / "direct")

    def scores(folder):
        with (tmp_path / folder / "scores.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["status"] == "scored"]
        return {row["series_uid"]: row["anomaly_score"] for row in rows}

    assert len(scores("out")) == 24
    assert scores("out") == scores("direct")


def test_results_are_stored_and_found_in_the_original_studies(stored, samples, radiograph_bundle, tmp_path):
    score_folder(samples / "incoming", radiograph_bundle, tmp_path, device="cpu")
    state = state_folder(tmp_path, None)
    (run,) = (state.root / "runs" / "score").iterdir()
    wanted = {"heatmaps": True, "dicom_maps": "secondary-capture", "dicom_results": True}
    finish(run, state, radiograph_bundle, tmp_path, device="cpu", watch=Watch(), **wanted)
    results = readable(tmp_path / "dicom")
    pictures = readable(tmp_path / "heatmaps")
    assert len(results) == 24
    assert len(pictures) > 0
    made = {**results, **pictures}
    try:
        store_by_dimse(list(made.values()))
        for uid, result in made.items():
            study = f"{WEB}/studies/{result.StudyInstanceUID}"
            of_study = httpx.get(f"{study}/series").json()
            modalities = [series["00080060"]["Value"][0] for series in of_study]
            assert modalities.count("SR") == 1
            assert {"CR", "DX"} & set(modalities)
            (found,) = httpx.get(f"{study}/series/{result.SeriesInstanceUID}/metadata").json()
            assert found["00080018"]["Value"] == [uid]
            assert found["00100020"].get("Value", [""]) == [result.PatientID or ""]
        for result in results.values():
            (series,) = result.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
            for image in series.ReferencedSOPSequence:
                assert stored[image.ReferencedSOPInstanceUID].StudyInstanceUID == result.StudyInstanceUID
        found = httpx.post(f"http://127.0.0.1:{HTTP_PORT}/tools/find", json=COUNTED).json()
        assert len(found) == len({str(image.StudyInstanceUID) for image in stored.values()})
    finally:
        for uid in made:
            for there in httpx.post(f"http://127.0.0.1:{HTTP_PORT}/tools/lookup", content=uid).json():
                httpx.delete(f"http://127.0.0.1:{HTTP_PORT}{there['Path']}")
