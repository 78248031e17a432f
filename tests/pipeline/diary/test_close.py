"""Nights of synthetic radiographs through a small bundle: null, drift, broken off, late labels."""

import csv
import json

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from models.bundle import SETTINGS, open_bundle, write_bundle
from pipeline.config import make_config
from pipeline.diary import close
from pipeline.diary.close import add_labels, close_night, scored, write_page
from pipeline.diary.night_shift import expectation
from pipeline.diary.record import Diary
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.score.folder import plan_scores, planned, score_shard, write_plan
from pipeline.shift.reference import reference_statistics
from pipeline.shift.sides import Setting
from pipeline.shift.stored_reference import read_reference
from pipeline.watch import Watch
from pipeline.workspace import Workspace

N = 60


def radiographs(folder, first, *, kvp=80.0, slope=0.0):
    """60 pictures of noise of a patient each; with a slope they grow brighter downwards."""
    rng = np.random.default_rng(first)
    folder.mkdir(parents=True)
    for n in range(first, first + N):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"2.25.{10**20 + n}"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.{10**21 + n}", f"2.25.{10**22 + n}"
        ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "CR", "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.Rows = ds.Columns = 32
        ds.PatientID, ds.KVP = f"Mueller{n}", kvp
        rows = np.linspace(0, slope, 32)[:, None]
        noise = rng.normal(2000 + rng.normal(0, 100), 300 + rng.uniform(0, 100), (32, 32))
        ds.PixelData = np.clip(noise + 2000 * rows, 0, 4095).astype(np.uint16).tobytes()
        ds.save_as(folder / f"{n:05d}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture(scope="module")
def watched(radiograph_bundle, tmp_path_factory):
    """The untrained bundle with reference statistics of 60 such pictures."""
    root = tmp_path_factory.mktemp("watched")
    bundle = open_bundle(radiograph_bundle)
    record = read_record(bundle)
    store = SampleStore(root / "cache", record.preparation)
    refs = scan_sources([radiographs(root / "reference", 1000)])
    store.fill(refs)
    cases = [Case(ref, (record.classes[n % 2],), ref.patient, True, "val", (), n) for n, ref in enumerate(refs)]
    texts, states = reference_statistics(
        load_classifier(bundle, record), store, cases, cases, record=record, device=torch.device("cpu"), seed=0
    )
    texts |= {name: bundle.text(name) for name in (SETTINGS, TRAINING_SET)}
    write_bundle(root / "bundle", texts, {"models/model.pt": bundle.tensors(), **states})
    return root / "bundle"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "incoming", Workspace(tmp_path / "ws").open(), tmp_path / "out"


def score(place, bundle):
    """Everything below the folder scored; what the diary looks at."""
    incoming, space, out = place
    run = space.run_folder("score")
    plan = plan_scores(incoming, bundle, space, device="cpu", watch=Watch())
    for shard in write_plan(plan, run):
        score_shard(shard, bundle, space, device="cpu", watch=Watch())
    return scored(out, bundle, planned(run), Setting(make_config({"device": "cpu"}), space, Watch()))


def test_a_year_in_short(place, watched, one_thread, monkeypatch):
    """A null night, a night broken off and done again, a night of another scanner, labels for the first."""
    incoming, _, out = place
    radiographs(incoming / "first", 0)
    row = close_night(score(place, watched), "2026-01-01")
    assert row.counts == {"scored": N}
    assert (row.look, row.alarm) == (1, False)
    assert row.p > row.alpha == pytest.approx(8.33e-5, rel=0.01)
    assert set(row.shift["tests"]) == {"outputs", "features", "headers"}
    assert sum(row.decisions.values()) == sum(row.classes.values()) == N
    assert row.shares["abnormal"]["expected"] is not None
    assert close_night(score(place, watched), "2026-01-01") is None
    assert close_night(score(place, watched), "2026-01-02") is None

    radiographs(incoming / "second", 100, kvp=120.0, slope=1.0)
    (incoming / "notes.txt").write_text("not a scan")
    found = score(place, watched)
    with monkeypatch.context() as patch:
        patch.setattr(close, "check_night", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            close_night(found, "2026-01-02")
    assert len(Diary(out).rows()) == 1
    row = close_night(score(place, watched), "2026-01-02")
    assert [one.night for one in Diary(out).rows()] == ["2026-01-01", "2026-01-02"]
    assert row.counts == {"ignored": 1, "scored": N}
    assert row.alarm
    assert (row.look, row.p <= row.alpha) == (2, True)
    assert "KVP (kV)" in row.shift["fields"]
    assert "KVP (kV)" in row.proposals[0]
    assert (out / "nights" / "2026-01-02" / "shift.html").exists()

    radiographs(incoming / "third", 200)
    again = close_night(score(place, watched), "2026-01-02")
    assert (again.look, again.counts["scored"], again.alarm) == (3, 2 * N, True)
    assert len(Diary(out).rows()) == 2

    labels = incoming.parent / "labels.csv"
    with labels.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        table.writerows([f"incoming/first/{n:05d}.dcm", ("normal", "opacity")[n % 2]] for n in range(40))
    found = score(place, watched)
    assert add_labels(found, labels) == 1
    assert add_labels(found, labels) == 0
    first = Diary(out).rows()[0]
    assert first.calibration["scans"] == 40
    assert 0 <= first.calibration["auroc"] <= 1
    p = np.array([found.done[ref.key].probability for ref in sorted(found.refs, key=lambda r: r.source)[:40]])
    truth = np.eye(2)[np.arange(40) % 2]
    assert first.calibration["brier"] == pytest.approx(((p - truth) ** 2).sum(axis=1).mean(), abs=1e-4)

    page = (out / "diary.html").read_text() if write_page(found.diary) else ""
    assert "Drift" in page
    assert "8.3e-05" in page
    for text in (page, (out / "diary.jsonl").read_text(), (out / "nights" / "2026-01-02" / "shift.json").read_text()):
        assert "Mueller" not in text
        assert str(incoming) not in text
        assert "2.25." not in text


def test_scans_that_were_moved_away_stay_in_their_nights_row(place, watched, one_thread):
    incoming, space, out = place
    radiographs(incoming / "first", 0)
    (incoming / "first" / "notes.txt").write_text("not a scan")
    row = close_night(score(place, watched), "2026-01-01")
    assert row.p is not None
    page = (out / "nights" / "2026-01-01" / "shift.html").read_bytes()
    (incoming / "first").rename(space.root / "archive")
    radiographs(incoming / "second", 100)
    for path in sorted((incoming / "second").iterdir())[5:]:
        path.unlink()
    again = close_night(score(place, watched), "2026-01-01")
    assert again.counts == {"ignored": 1, "scored": N + 5}
    assert sum(again.decisions.values()) == again.shares["abnormal"]["of"] == N + 5
    assert (again.look, again.p, again.alpha, again.shift) == (row.look, row.p, row.alpha, row.shift)
    assert (out / "nights" / "2026-01-01" / "shift.html").read_bytes() == page
    assert close_night(score(place, watched), "2026-01-01") is None
    (space.root / "archive").rename(incoming / "back")  # nothing new comes back
    assert close_night(score(place, watched), "2026-01-02") is None


def test_a_series_that_was_refused_in_part_is_counted_once_when_it_is_whole(place, radiograph_bundle, one_thread):
    incoming, _, _ = place
    radiographs(incoming, 0)
    whole = (incoming / "00000.dcm").read_bytes()
    (incoming / "00000.dcm").write_bytes(whole[:-100])
    row = close_night(score(place, radiograph_bundle), "2026-01-01")
    assert row.counts == {"refused": 1, "scored": N - 1}
    (incoming / "00000.dcm").write_bytes(whole)
    again = close_night(score(place, radiograph_bundle), "2026-01-01")
    assert again.counts == {"scored": N}
    assert again.shares["refused"]["value"] == 0
    (incoming / "00001.dcm").write_bytes((incoming / "00001.dcm").read_bytes()[:-100])
    (incoming / "00002.dcm").unlink()
    radiographs(incoming / "more", 100)
    last = close_night(score(place, radiograph_bundle), "2026-01-01")
    assert last.counts == {"refused": 1, "scored": 2 * N - 1}


def test_labels_go_on_when_some_of_their_files_are_gone(place, watched, one_thread):
    incoming, _, out = place
    radiographs(incoming, 0)
    found = score(place, watched)
    close_night(found, "2026-01-01")
    labels, names = incoming.parent / "labels.csv", [f"{n:05d}.dcm" for n in range(40)]
    lines = [f"incoming/{name},{('normal', 'opacity')[n % 2]}" for n, name in enumerate(names)]
    labels.write_text("\n".join(["path,label", "incoming/gone.dcm,normal", *lines]) + "\n")
    assert add_labels(found, labels) == 1
    (row,) = Diary(out).rows()
    assert row.calibration["scans"] == 40
    for name in names[:15]:
        (incoming / name).unlink()
    assert add_labels(found, labels) == 0  # 25 are left, and say less than the 40 did
    assert Diary(out).rows() == [row]
    radiographs(incoming / "more", 100)
    found = score(place, watched)
    again = close_night(found, "2026-01-01")
    assert (again.counts["scored"], again.calibration) == (2 * N, row.calibration)
    assert add_labels(found, labels) == 0


def test_labels_of_a_folder_that_is_empty_by_now_are_left_out(place, watched, one_thread):
    incoming, _, out = place
    radiographs(incoming, 0)
    (incoming / "emptied").mkdir()
    found = score(place, watched)
    close_night(found, "2026-01-01")
    labels = incoming.parent / "labels.csv"
    lines = [f"incoming/{n:05d}.dcm,{('normal', 'opacity')[n % 2]}" for n in range(30)]
    labels.write_text("\n".join(["path,label", "incoming/emptied,normal", *lines]) + "\n")
    assert add_labels(found, labels) == 1
    assert Diary(out).rows()[0].calibration["scans"] == 30


def test_labels_that_cannot_be_used_are_told_and_change_nothing(place, watched, one_thread):
    incoming, _, out = place
    radiographs(incoming, 0)
    found = score(place, watched)
    close_night(found, "2026-01-01")
    before = (out / "diary.jsonl").read_bytes()
    (incoming.parent / "labels.csv").write_text("path,label\nincoming/gone.dcm,normal\n")
    assert add_labels(found, incoming.parent / "labels.csv") == 0
    assert (out / "diary.jsonl").read_bytes() == before


def test_without_a_reference_the_night_is_counted_and_the_reason_stands(place, radiograph_bundle, samples, one_thread):
    _, space, out = place
    row = close_night(score((samples / "incoming", space, out), radiograph_bundle), "2026-01-01")
    assert row.counts["scored"] == 24
    assert (row.p, row.look, row.alarm) == (None, 0, False)
    assert row.shift == {"reason": "the bundle keeps no reference statistics"}
    assert "the bundle keeps no reference" in row.proposals[0]
    assert json.loads((out / "diary.jsonl").read_text())["counts"] == row.counts


def test_the_expected_share_is_that_of_the_reference_at_the_bundles_threshold(watched):
    bundle = open_bundle(watched)
    record = read_record(bundle)
    stored = read_reference(bundle, record)
    logits = stored.scans.logits.astype(np.float64)
    normal = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    assert expectation(stored, record) == {"value": round(float(np.mean(1 - normal >= 0.5)), 4), "of": N}
