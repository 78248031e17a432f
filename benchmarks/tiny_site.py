"""Scans and a bundle that cost next to nothing, for benchmarks of everything around the network."""

from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from models.backbones import build_backbone
from models.bundle import SETTINGS, write_bundle
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set
from pipeline.model_record import FORMAT, ModelRecord
from pipeline.prepare.samples import Preparation

CLASSES = ("normal", "opacity")
A_FOLDER = 250
SIZE = 64


def make_scans(folder, count):
    """Write `count` radiographs of 64 by 64 pixels, each another one, 250 to a folder; made once."""
    if len(list(folder.rglob("*.dcm"))) == count:
        return folder
    draw = np.random.default_rng(count)
    for n in range(count):
        path = folder / f"{n // A_FOLDER:03d}" / f"{n:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[:SIZE, :SIZE]
        row, column, width = draw.uniform(16, 48), draw.uniform(16, 48), draw.uniform(6, 20)
        spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
        pixels = (500 + 2500 * spot + draw.normal(0, 40, spot.shape)).clip(0, 4095).astype("<u2")
        radiograph(n, count, pixels).save_as(path, enforce_file_format=True)
    return folder


def radiograph(n, count, pixels):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.PatientID, data.PatientName, data.Modality = f"P{n:06d}", "Synthetic^Scan", "DX"
    data.StudyInstanceUID = f"2.25.1{count:07d}{n:07d}1"
    data.SeriesInstanceUID = f"2.25.1{count:07d}{n:07d}2"
    data.SOPInstanceUID = f"2.25.1{count:07d}{n:07d}3"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    data.SeriesNumber, data.InstanceNumber = 1, 1
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelSpacing = [4.0, 4.0]
    data.PixelData = pixels.tobytes()
    return data


RADIOGRAPHS = {"kind": "radiograph", "modality": "CR/DX", "image_size": SIZE, "slices": 1}


def make_bundle(folder, backbone="squeezenet1_1", preparation=RADIOGRAPHS):
    """Write a bundle of an untrained network, for such radiographs if not told otherwise; the same each time."""
    if folder.exists():
        return folder
    size = preparation["image_size"]
    settings = {"classes": CLASSES, "backbone": backbone, "weights": "none", "image_size": size}
    record = ModelRecord(
        format=FORMAT,
        created="2026-01-01T00:00:00+00:00",
        classes=CLASSES,
        task="multiclass",
        backbone=backbone,
        variant="",
        pooling="mean",
        preparation=Preparation(intensity="auto", **preparation),
        temperature=1.0,
        thresholds=dict.fromkeys(CLASSES, 0.5),
        anomaly_threshold=0.5,
        policy={"rule": "sensitivity=0.95", "measured_on": "nothing: fixed by hand"},
        weights={"origin": "random", "sha256": ""},
        training={},
        random_reference=None,
        config=Config(**settings, engine="eager"),
    )
    classifier = SliceBagClassifier(build_backbone(backbone, seed=1), len(CLASSES), pooling="mean", seed=1)
    draw = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        spread = classifier.eval().features(torch.rand((16, 1, 3, size, size), generator=draw).flatten(0, 1))
    classifier.norm.fit(spread)
    with torch.no_grad():
        classifier.head.weight.copy_(torch.randn(classifier.head.weight.shape, generator=draw) / 20)
    texts = {SETTINGS: record.to_yaml(), TRAINING_SET: training_set(()).to_json()}
    write_bundle(Path(folder), texts, {"models/model.pt": classifier.state_dict()})
    return folder
