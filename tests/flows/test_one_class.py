"""Anomaly detection from normal scans alone, through the command line, from labels.csv to heat-maps."""

import csv

import numpy as np
import pydicom
import pytest

from pipeline.decide.pool import LEAST_POOL

DETECTOR = ["task=one_class", "detector=mahalanobis", "backbone=squeezenet1_1", "weights=none", "image_size=64"]
RULE = ["policy=false_alarm=0.2"]  # 15 % of the training patients calibrate: too few for 5 %
NOTICE = "could be normal by what the bundle's normals look like"


def settings(*words):
    return [part for word in (*DETECTOR, *RULE, *words) for part in ("--set", word)]


@pytest.fixture
def adapted(command, samples, tmp_path):
    """A bundle of the sample radiographs' normals; runs `adapt` with settings that replace earlier ones."""

    def run(*words):
        labels, bundle = samples / "radiographs" / "labels.csv", tmp_path / "bundle"
        told = command("adapt", labels, "--bundle", bundle, "-w", tmp_path / "ws", *settings(*words), "--json")
        assert told.code == 0, told.error
        return bundle, told.record

    return run


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_adapt_validate_and_score(adapted, command, samples, tmp_path):
    bundle, _ = adapted("detector=padim")
    labels, space = samples / "radiographs" / "labels.csv", tmp_path / "ws"
    told = command("validate", bundle, labels, "-w", space, "-o", tmp_path / "v", "--json")
    assert told.code == 0, told.error
    assert told.record["auroc"]["value"] > 0.6  # random weights see a bright disc all the same
    page = (tmp_path / "v" / "report.html").read_text()
    assert "anomaly" in page
    out = tmp_path / "scores"
    told = command("score", samples / "incoming", "--bundle", bundle, "-o", out, "--heatmaps", "--json")
    assert told.code == 0, told.error
    assert told.record["notice"] == ""
    rows = [row for row in rows_of(out / "scores.csv") if row["status"] == "scored"]
    assert len(rows) == 24
    assert {row["decision"] for row in rows} <= {"normal", "anomaly"}
    assert all(row["predicted"] == row["decision"] for row in rows)
    called = [row["source"] for row in rows if row["decision"] == "anomaly"]
    assert called
    assert sorted(row["source"] for row in rows_of(out / "heatmaps" / "index.csv")) == sorted(called)


def test_a_folder_of_another_kind_of_picture_is_told_of(adapted, command, samples, tmp_path):
    bundle, _ = adapted()
    odd = tmp_path / "odd"
    odd.mkdir()
    rng = np.random.default_rng(0)
    for n, path in enumerate(sorted((samples / "radiographs").rglob("*.dcm"))[:LEAST_POOL]):
        ds = pydicom.dcmread(path)
        ds.decompress()
        pixels = ds.pixel_array
        stripes = (np.arange(pixels.shape[0]) // 2 % 2 * pixels.max()).astype(pixels.dtype)
        noise = rng.integers(0, max(2, int(pixels.max()) // 8), pixels.shape)
        ds.PixelData = (np.broadcast_to(stripes[:, None], pixels.shape) // 2 + noise).astype(pixels.dtype).tobytes()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        ds.save_as(odd / f"{n}.dcm")
    told = command("score", odd, "--bundle", bundle, "-o", tmp_path / "scores", "--json")
    assert told.code == 0, told.error
    assert NOTICE in told.record["notice"]
    assert NOTICE in told.error
    assert {row["decision"] for row in rows_of(tmp_path / "scores" / "scores.csv")} == {"anomaly"}
