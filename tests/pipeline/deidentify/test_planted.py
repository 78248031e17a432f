"""Sixty and more planted strings, dates and UIDs in every kind of place: none is left in bytes, names or report."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest

from flows import cli
from tests.pipeline.deidentify.builders import ENHANCED_MR, SR, US, Plants, add_image, base, code, item, make_ct, write
from tests.pipeline.deidentify.planted_objects import fill_ct, fill_sr

OTHER_KEY = "ab" * 32 + "\n"


def enhanced_mr(plants):
    ds = base(plants, ENHANCED_MR, "MR", ImageType=["ORIGINAL", "PRIMARY", "M", "NONE"], NumberOfFrames=2)
    ds.AcquisitionDateTime, ds.FrameOfReferenceUID = plants.moment(), plants.uid()
    group = item(
        FrameContentSequence=[
            item(
                FrameAcquisitionDateTime=plants.moment(),
                FrameReferenceDateTime=plants.moment(),
                FrameComments=plants.word(),
                FrameLabel=plants.word(),
            )
        ],
        PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 0])],
    )
    ds.PerFrameFunctionalGroupsSequence = [group, group]
    ds.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=1)])]
    add_image(ds)
    return ds


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """A folder named after a patient: CT, enhanced MR, ultrasound with text in its pixels, SR about the CT, junk."""
    plants = Plants()
    root = tmp_path_factory.mktemp("site")
    home = root / plants.word("Export ") / plants.word("Patient ")
    ct = make_ct(plants)
    fill_ct(ct, plants, item, code)
    write(
        ct,
        home / f"{plants.word()}.dcm",
        preamble=plants.word("preamble ").encode().ljust(128, b"\0"),
        SourceApplicationEntityTitle=plants.short(),
        SendingApplicationEntityTitle=plants.short(),
        ReceivingApplicationEntityTitle=plants.short(),
        PrivateInformationCreatorUID=plants.uid(),
        PrivateInformation=plants.word("meta ").encode(),
        ImplementationVersionName=plants.short(),
    )
    write(enhanced_mr(plants), home / "mr.dcm")
    us = base(plants, US, "US", BurnedInAnnotation="YES", ImageType=["ORIGINAL", "PRIMARY"])
    add_image(us)
    write(us, home / "us.dcm")
    sr = base(plants, SR, "SR", PatientID=ct.PatientID, PatientName=ct.PatientName)
    sr.StudyInstanceUID = ct.StudyInstanceUID
    fill_sr(sr, plants, item, code, ct)
    write(sr, home / "sr.dcm")
    (home / "note.txt").write_text(plants.word("letter about "))
    (home / "letter.dcm").write_text(plants.word("no dicom "))
    return root, plants


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A key file."""
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text("0123456789abcdef" * 4)
    path.chmod(0o600)
    return path


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "options",
    [[], ["--dates", "shift", "--clean-descriptors"], ["--mask", "0,0,8,6"], ["--pixels-clean", "--json"]],
    ids=["basic", "shift", "mask", "vouched"],
)
def test_no_planted_string_is_left_anywhere(hospital, key, tmp_path, capfd, options):
    root, plants = hospital
    assert len(plants.planted) >= 60
    source = b"".join(files_of(root).values())
    assert len(plants.left_in(source)) >= 60
    assert cli.main(["deidentify", str(root), str(tmp_path / "out"), "--key", str(key), *options]) == 0
    written = files_of(tmp_path / "out")
    looked_at = "--mask" in options or "--pixels-clean" in options
    assert sum(name.endswith(".dcm") for name in written) == 3 + looked_at
    for name, content in written.items():
        assert plants.left_in(content) == [], name
        assert plants.left_in(name.encode()) == []
    told = capfd.readouterr()
    assert plants.left_in((told.out + told.err).encode()) == []


def test_every_other_reader_sees_nothing_private_and_no_overlay(hospital, key, tmp_path):
    root, _ = hospital
    cli.main(["deidentify", str(root), str(tmp_path / "out"), "--key", str(key), "--pixels-clean"])
    for path in (tmp_path / "out").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert path.read_bytes()[:128] == b"\0" * 128
        assert {element.keyword for element in ds.file_meta} == {
            "FileMetaInformationGroupLength",
            "FileMetaInformationVersion",
            "MediaStorageSOPClassUID",
            "MediaStorageSOPInstanceUID",
            "TransferSyntaxUID",
            "ImplementationClassUID",
            "ImplementationVersionName",
        }
        for element in ds.iterall():
            assert not element.tag.is_private
            assert element.tag.group >> 8 not in (0x50, 0x60)
        assert ds.PatientIdentityRemoved == "YES"
        codes = [entry.CodeValue for entry in ds.DeidentificationMethodCodeSequence]
        assert codes[0] == "113100"
        assert ds.PatientBirthDate == ""
        assert ds.LongitudinalTemporalInformationModified == "REMOVED"


def test_references_between_objects_still_match(hospital, key, tmp_path):
    root, _ = hospital
    cli.main(["deidentify", str(root), str(tmp_path / "out"), "--key", str(key)])
    by_kind = {ds.Modality: ds for ds in map(pydicom.dcmread, (tmp_path / "out").rglob("*.dcm"))}
    sr, ct = by_kind["SR"], by_kind["CT"]
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0]
    link = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert (evidence.StudyInstanceUID, sr.StudyInstanceUID) == (ct.StudyInstanceUID, ct.StudyInstanceUID)
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == ct.SeriesInstanceUID
    assert (link.ReferencedSOPClassUID, link.ReferencedSOPInstanceUID) == (ct.SOPClassUID, ct.SOPInstanceUID)
    assert (sr.PatientID, sr.PatientName) == (ct.PatientID, ct.PatientID)
    kinds = [entry.ValueType for entry in sr.ContentSequence]
    assert kinds == ["TEXT", "PNAME", "DATETIME", "UIDREF", "CODE", "NUM", "IMAGE", "CONTAINER"]
    measured = sr.ContentSequence[5].MeasuredValueSequence[0]
    assert (measured.NumericValue, measured.MeasurementUnitsCodeSequence[0].CodeValue) == (12.5, "mm")


def test_one_key_gives_the_same_bytes_and_another_key_other_pseudonyms(hospital, key, tmp_path):
    root, _ = hospital
    other = tmp_path / "other"
    other.write_text(OTHER_KEY)
    for name, secret in (("a", key), ("b", key), ("c", other)):
        cli.main(["deidentify", str(root), str(tmp_path / name), "--key", str(secret)])
    a, b, c = (files_of(tmp_path / name) for name in "abc")
    assert a == b
    assert len(a) == len(c)
    assert set(a) & set(c) == {"deidentification.json"}
    kept = {str(pydicom.dcmread(tmp_path / "a" / name).SOPInstanceUID) for name in a if name.endswith("dcm")}
    assert not any(uid.encode() in content for uid in kept for content in c.values())


def test_a_moved_and_renamed_folder_gives_the_same_output(hospital, key, tmp_path):
    root, _ = hospital
    moved = tmp_path / "moved"
    for index, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        moved.mkdir(exist_ok=True)
        shutil.copy(path, moved / f"{9 - index}{path.suffix}")
    for name, source in (("a", root), ("b", moved)):
        cli.main(["deidentify", str(source), str(tmp_path / name), "--key", str(key)])
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_report_counts_and_holds_no_values(hospital, key, tmp_path):
    root, _ = hospital
    cli.main(["deidentify", str(root), str(tmp_path / "out"), "--key", str(key)])
    report = json.loads((tmp_path / "out" / "deidentification.json").read_text())
    assert report["files"] == {"ignored": 1, "refused": 2, "written": 3}
    assert report["reasons"] == {"BURNED_IN": 1, "NOT_AN_IMAGE": 1, "NOT_DICOM": 1}
    assert report["changes"]["(0010,0010) PatientName"] == {"replaced": 3}
    assert report["changes"]["private"]["removed"] >= 3


def errors_of(path):
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return {re.sub(r"\d+(\.\d+){3,}", "UID", line) for line in lines if line.startswith("Error")}


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("options", [[], ["--dates", "shift", "--clean-descriptors", "--retain-device"]])
def test_dciodvfy_finds_no_new_errors(hospital, key, tmp_path, options):
    root, _ = hospital
    table = tmp_path / "table.csv"
    cli.main(["deidentify", str(root), str(tmp_path / "out"), "--key", str(key), "--table", str(table), *options])
    assert table.stat().st_mode & 0o777 == 0o600
    rows = [line.split(",") for line in table.read_text().splitlines() if ",written," in line]
    assert len(rows) == 3
    for source, _, _, file in rows:
        assert errors_of(tmp_path / "out" / file) <= errors_of(root / source), Path(file).name
