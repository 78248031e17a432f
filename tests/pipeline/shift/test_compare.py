import csv
import json
import shutil
from pathlib import Path

import pydicom
import pytest

from models.errors import WeightsNotFoundError
from pipeline.config import make_config
from pipeline.errors import CohortError, ConfigError, LabelsError, LeakageError, RefusedError, SourceError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.cohort import Case
from pipeline.shift.compare import Sides, compare
from pipeline.shift.sides import Setting
from pipeline.shift.write import shift_record, write_shift
from pipeline.watch import Watch
from pipeline.workspace import Workspace

QUICK = {"backbone": "squeezenet1_1", "weights": "none", "image_size": 64}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """One workspace for all comparisons here, so that scans are prepared once."""
    return Workspace(tmp_path_factory.mktemp("workspace")).open()


@pytest.fixture
def run(space):
    """Compares two sides quickly."""

    def call(reference, incoming, *, workspace=None, settings=None, **sides):
        config = make_config(QUICK if settings is None else settings)
        return compare(Sides(reference, incoming, **sides), Setting(config, workspace or space, Watch()))

    return call


@pytest.fixture(scope="module")
def labels(samples):
    return samples / "radiographs" / "labels.csv"


@pytest.fixture
def few(samples, tmp_path):
    """Some radiographs of the south in a folder of their own."""

    def copy(count):
        folder = tmp_path / "few"
        folder.mkdir()
        for path in sorted((samples / "radiographs" / "south").rglob("*.dcm"))[:count]:
            shutil.copy(path, folder)
        return folder

    return copy


@pytest.fixture(scope="module")
def two_sites(labels, space):
    sides = Sides(labels, labels, reference_site="north", incoming_site="south")
    return compare(sides, Setting(make_config(QUICK), space, Watch()))


def test_two_sites_of_one_file_differ(two_sites):
    record = shift_record(two_sites)
    assert record["test"]["rejected"]
    assert record["verdict"].startswith("The incoming scans look different")
    assert record["sizes"]["c2st_auc"]["value"] > record["sizes"]["c2st_auc"]["null"]["high"]
    assert {name: (side["used"], side["patients"]) for name, side in record["sides"].items()} == {
        "reference": (60, 48),
        "incoming": (60, 48),
    }
    drifted = {field["field"] for field in record["headers"] if field["rejected"]}
    assert {"Modality", "PhotometricInterpretation", "BitsStored", "Manufacturer"} <= drifted


def test_without_a_bundle_a_probe_is_the_classifier(two_sites):
    record = shift_record(two_sites)
    assert record["classes"] == ["normal", "opacity"]
    assert record["encoder"]["classifier"].startswith("linear probe")
    assert 0 <= record["accuracy"]["reference"]["value"] <= 1
    assert record["measured_accuracy"]["low"] <= record["measured_accuracy"]["value"]
    right = two_sites.incoming.logits.argmax(axis=1) == two_sites.incoming.truth.argmax(axis=1)
    assert record["measured_accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-6)


def test_random_weights_are_told(two_sites):
    assert any("random" in note for note in shift_record(two_sites)["notes"])


def test_a_folder_is_no_different_from_itself(run, samples):
    north = samples / "radiographs" / "north"
    record = shift_record(run(north, north))
    assert (record["test"]["rejected"], record["kind"]["kind"]) == (False, "none")
    assert record["verdict"].startswith("No shift was found")
    assert record["patients_on_both_sides"] == 48
    assert not any(field["rejected"] for field in record["headers"])


def test_without_labels_and_bundle_there_is_no_classifier(run, samples):
    record = shift_record(run(samples / "radiographs" / "north", samples / "radiographs" / "south"))
    assert record["encoder"]["classifier"] is None
    assert "no bundle" in record["encoder"]["reason"]
    assert (record["classes"], record["accuracy"], record["measured_accuracy"]) == ([], None, None)
    assert record["kind"]["kind"] is None
    assert "kind of shift cannot be told" in record["verdict"]


def test_few_incoming_scans_are_not_tested(run, samples, few):
    record = shift_record(run(samples / "radiographs" / "north", few(12)))
    assert record["test"] is None
    assert "12 incoming scans" in record["test_reason"]
    assert record["verdict"].startswith("Whether there is a shift cannot be told")


def test_what_is_refused_is_counted_and_stops_nothing(run, samples):
    broken = run(samples / "radiographs" / "north", samples / "incoming").ran["sides"]["incoming"]
    assert broken["used"] == 24
    assert sum(broken["left_out"].values()) == broken["found"] - 24 > 0
    assert set(broken["left_out"]) <= {"EMPTY_FILE", "TRUNCATED_PIXELS", "TRUNCATED_FILE", "NOT_DICOM", "UNREADABLE"}


def test_a_scan_that_lies_twice_counts_once(run, few):
    folder = few(30)
    shutil.copy(sorted(folder.iterdir())[0], folder / "again.dcm")
    side = run(folder, folder).ran["sides"]["reference"]
    assert side["used"] == 30


def test_a_bundle_stands_for_its_reference_scans(run, reference_bundle, samples):
    record = shift_record(run(reference_bundle, samples / "radiographs" / "south", settings={}))
    assert record["sides"]["reference"]["source"] == "bundle"
    assert (record["sides"]["reference"]["used"], record["sides"]["reference"]["patients"]) == (60, 48)
    assert record["encoder"]["bundle"]
    assert record["test"]["rejected"]
    assert record["classes"] == ["normal", "opacity"]


def test_a_bundle_sees_no_shift_in_its_own_scans(run, reference_bundle, samples):
    record = shift_record(run(reference_bundle, samples / "radiographs" / "north", settings={}))
    assert not record["test"]["rejected"]
    assert record["kind"]["kind"] == "none"
    assert not any(field["rejected"] for field in record["headers"])


def test_both_sides_through_a_bundle(run, radiograph_bundle, labels):
    sides = {"reference_site": "north", "incoming_site": "south", "bundle": radiograph_bundle}
    record = shift_record(run(labels, labels, settings={}, **sides))
    assert record["encoder"]["classifier"] == "the bundle's"
    assert record["encoder"]["backbone"] == "squeezenet1_1"


def test_labels_that_the_bundle_does_not_know_are_not_used(run, radiograph_bundle, samples, tmp_path):
    path = tmp_path / "labels.csv"
    files = sorted((samples / "radiographs" / "north").rglob("*.dcm"))
    path.write_text("path,label\n" + "".join(f"{file},tumour\n" for file in files))
    compared = run(samples / "radiographs" / "south", path, settings={}, bundle=radiograph_bundle)
    assert compared.incoming.truth is None
    assert any("60 labels are not among the classes" in note for note in compared.ran["notes"])


def test_scans_of_the_training_are_left_out(run, new_bundle, samples, tmp_path):
    north = samples / "radiographs" / "north"
    refs = [ref for ref in scan_sources([north]) if ref.status == "ok"]
    seen = [Case(ref, ("normal",), ref.patient, True, "train", (), 0) for ref in refs]
    some = new_bundle(tmp_path / "some", seen=seen[:20])
    left_out = run(north, samples / "radiographs" / "south", settings={}, bundle=some).ran["sides"]["reference"]
    assert left_out["left_out"]["IN_TRAINING"] >= 20
    everything = new_bundle(tmp_path / "all", seen=seen)
    with pytest.raises(LeakageError, match="give the bundle itself as REFERENCE"):
        run(north, samples / "radiographs" / "south", settings={}, bundle=everything)


def test_another_kind_than_the_bundles_is_refused(run, radiograph_bundle, samples):
    with pytest.raises(RefusedError, match=r"incoming: its series are 24 volume OT; .* radiograph CR/DX"):
        run(samples / "radiographs" / "north", samples / "volumes", settings={}, bundle=radiograph_bundle)


def test_volumes_are_compared_with_volumes(run, samples):
    path = samples / "volumes" / "labels.csv"
    settings = {**QUICK, "slices": 4}
    record = shift_record(run(path, path, settings=settings, reference_site="north", incoming_site="south"))
    assert record["encoder"]["kind"] == "volume OT"
    assert record["sides"]["incoming"]["used"] == 12


def test_a_reference_of_several_kinds_is_refused(run, samples):
    with pytest.raises(CohortError, match="several kinds"):
        run(samples, samples / "volumes")


@pytest.mark.parametrize(
    ("sides", "settings", "words"),
    [
        ({"reference_site": "north"}, None, "--reference-site north: only a labels.csv"),
        ({"incoming_site": "south"}, None, "--incoming-site south: only a labels.csv"),
        ({}, {"strategy": "lp_ft"}, "strategy is not used by shift without a bundle"),
        ({}, {"backbone": "auto"}, "name it, or give a bundle"),
    ],
)
def test_settings_that_would_not_be_heeded_are_wrong_use(run, samples, sides, settings, words):
    north = samples / "radiographs" / "north"
    with pytest.raises(ConfigError, match=words):
        run(north, north, settings=settings, **sides)


def test_a_bundle_brings_its_own_settings(run, radiograph_bundle, samples):
    with pytest.raises(ConfigError, match="backbone is not used by shift with a bundle"):
        run(samples, samples, settings={"backbone": "resnet18"}, bundle=radiograph_bundle)


def test_a_bundle_is_no_incoming_side(run, radiograph_bundle, samples):
    with pytest.raises(ConfigError, match="INCOMING is a bundle"):
        run(samples / "incoming", radiograph_bundle)
    with pytest.raises(ConfigError, match="leave --bundle out"):
        run(radiograph_bundle, samples / "incoming", bundle=radiograph_bundle, settings={})


def test_a_bundle_from_before_is_told(run, radiograph_bundle, samples):
    with pytest.raises(SourceError, match="adapt again"):
        run(radiograph_bundle, samples / "incoming", settings={})


def test_an_empty_folder_and_an_unknown_site_are_told(run, labels, tmp_path, samples):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="nothing found"):
        run(samples / "incoming", tmp_path / "empty")
    with pytest.raises(LabelsError, match=r"no row of site west \(sites there: north, south\)"):
        run(labels, labels, incoming_site="west")


def test_missing_weights_are_told(run, samples, monkeypatch, tmp_path):
    (tmp_path / "weights.json").write_text('{"weights": [{"backbone": "vgg11", "file": "no.pth", "sha256": "00"}]}')
    monkeypatch.setenv("SCANSHIFT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsNotFoundError):
        run(samples / "incoming", samples / "incoming", settings={"backbone": "vgg11", "image_size": 64})


@pytest.fixture
def planted(samples, tmp_path):
    """Radiographs with a patient's name and ids in headers, file names, folder names and labels.csv."""
    folder = tmp_path / "Mueller_Hans"
    folder.mkdir()
    rows = []
    for n, path in enumerate(sorted((samples / "radiographs" / "south").rglob("*.dcm"))[:24]):
        ds = pydicom.dcmread(path)
        ds.PatientName, ds.PatientID, ds.AccessionNumber = "Mueller^Hans", f"PID4711-{n}", f"ACC0815{n}"
        ds.InstitutionName, ds.DeviceSerialNumber, ds.StationName = "Hospital Nowhere", "SN77", "ROOM9"
        ds.ManufacturerModelName, ds.SoftwareVersions = "DX of Mueller", f"Hans-{n}"
        ds.PatientBirthDate, ds.StudyDate, ds.PatientAge = "19440203", "20240506", "081Y"
        ds.save_as(folder / f"Hans_{n}.dcm")
        rows.append([f"Mueller_Hans/Hans_{n}.dcm", ("normal", "opacity")[n % 2], f"PID4711-{n}", "Mueller ward"])
    path = tmp_path / "Mueller.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient", "ward"], *rows])
    return path


def test_nothing_that_is_written_or_told_names_anyone(run, planted, tmp_path, labels):
    compared = run(labels, planted, reference_site="north")
    out = tmp_path / "out"
    result = write_shift(compared, out)
    paths = {result.pop("page"), result.pop("record")}
    lines = [line for line in result["lines"] if not line.startswith("page: ")]
    told = json.dumps({**result, "lines": lines}) + "".join(Path(path).read_text(encoding="utf-8") for path in paths)
    uids = [str(pydicom.dcmread(path).SeriesInstanceUID) for path in planted.parent.rglob("Hans_*.dcm")]
    words = ["Mueller", "Hans", "4711", "0815", "Nowhere", "SN77", "ROOM9", "1944", "20240506", str(tmp_path), *uids]
    assert uids
    assert [word for word in words if word.lower() in told.lower()] == []


def test_the_same_seed_gives_the_same_bytes_in_another_workspace(run, labels, tmp_path):
    written = []
    for name in ("one", "two"):
        space = Workspace(tmp_path / name).open()
        write_shift(run(labels, labels, workspace=space, reference_site="north", incoming_site="south"), space.root)
        written.append([(space.root / file).read_bytes() for file in ("shift.json", "shift.html")])
    assert written[0] == written[1]


def test_the_page_stands_alone(two_sites, tmp_path):
    write_shift(two_sites, tmp_path)
    page = (tmp_path / "shift.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert page.count("<circle") >= 60
    assert "prefers-color-scheme: dark" in page
