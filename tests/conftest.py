"""Shared by all tests: the sample data, and small bundles with untrained networks."""

import shutil
from pathlib import Path

import pytest
import torch

from models.backbones import build_backbone
from models.bundle import SETTINGS, open_bundle, write_bundle
from models.classifier import SliceBagClassifier
from pipeline.config import Config
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import training_set
from pipeline.model_record import FORMAT, ModelRecord, load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import Preparation, prepare, to_tensor
from pipeline.shift.reference import reference_statistics

pytest_plugins = ["tests.postgres"]

SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"
RADIOGRAPHS = ("radiograph", "CR/DX")
VOLUMES = ("volume", "OT")


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread while a module's tests run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def samples():
    """The folder `sample_data`."""
    return SAMPLES


def make_bundle(folder, *, kind=RADIOGRAPHS, size=64, threshold=0.5, classes=("normal", "opacity"), seen=(), **changes):
    """A bundle whose network was never trained."""
    slices = 1 if kind == RADIOGRAPHS else 24
    pooling = "mean" if kind == RADIOGRAPHS else "attention"
    record = ModelRecord(
        **{
            "format": FORMAT,
            "created": "2026-01-01T00:00:00+00:00",
            "classes": classes,
            "task": "multiclass",
            "backbone": "squeezenet1_1",
            "variant": "",
            "pooling": pooling,
            "preparation": Preparation(
                kind=kind[0], modality=kind[1], image_size=size, slices=slices, intensity="auto"
            ),
            "temperature": 1.0,
            "thresholds": dict.fromkeys(classes, 0.5),
            "anomaly_threshold": threshold,
            "policy": {"rule": "sensitivity=0.95", "measured_on": "nothing: fixed by hand"},
            "weights": {"origin": "random", "sha256": ""},
            "training": {},
            "random_reference": None,
            "config": Config(classes=classes, backbone="squeezenet1_1", weights="none", image_size=size),
            **changes,
        }
    )
    classifier = SliceBagClassifier(build_backbone("squeezenet1_1", seed=1), len(classes), pooling=pooling, seed=1)
    _spread(classifier, record.preparation)
    write_bundle(
        folder,
        {SETTINGS: record.to_yaml(), TRAINING_SET: training_set(seen).to_json()},
        {"models/model.pt": classifier.state_dict()},
    )
    return folder


def _spread(classifier, preparation):
    """Standardise features and draw a head at random, so that scores differ from scan to scan."""
    folder = SAMPLES / ("volumes" if preparation.kind == "volume" else "incoming")
    refs = [ref for ref in scan_sources([folder]) if ref.status == "ok"][:8]
    with torch.inference_mode():
        rows = [classifier.eval().features(to_tensor(prepare(read_scan(ref), preparation).slices)) for ref in refs]
    classifier.norm.fit(torch.cat(rows))
    weight = classifier.head.weight
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=draw) / weight.shape[1] ** 0.5)


@pytest.fixture(scope="session")
def new_bundle():
    """Writes an untrained bundle into a folder."""
    return make_bundle


@pytest.fixture(scope="session")
def radiograph_bundle(tmp_path_factory):
    """An untrained bundle for radiographs."""
    return make_bundle(tmp_path_factory.mktemp("radiographs") / "bundle")


@pytest.fixture(scope="session")
def volume_bundle(tmp_path_factory):
    """An untrained bundle for volumes of at most 24 slices; a chunk of its ledger holds two volumes."""
    return make_bundle(tmp_path_factory.mktemp("volumes") / "bundle", kind=VOLUMES, classes=("normal", "lesion"))


@pytest.fixture(scope="session")
def reference_bundle(radiograph_bundle, tmp_path_factory):
    """The untrained bundle with reference statistics of the sample radiographs of the north."""
    bundle = open_bundle(radiograph_bundle)
    record = read_record(bundle)
    store = SampleStore(tmp_path_factory.mktemp("reference") / "cache", record.preparation)
    refs = [ref for ref in scan_sources([SAMPLES / "radiographs" / "north"]) if ref.status == "ok"]
    store.fill(refs)
    cases = [Case(ref, (record.classes[n % 2],), ref.patient, True, "val", (), n) for n, ref in enumerate(refs)]
    texts, states = reference_statistics(
        load_classifier(bundle, record), store, cases, cases, record=record, device=torch.device("cpu"), seed=0
    )
    texts |= {name: bundle.text(name) for name in (SETTINGS, TRAINING_SET)}
    folder = tmp_path_factory.mktemp("with_reference") / "bundle"
    write_bundle(folder, texts, {"models/model.pt": bundle.tensors(), **states})
    return folder


@pytest.fixture
def incoming(tmp_path):
    """A copy of the sample folder to score: 24 radiographs, two broken files and a note."""
    return Path(shutil.copytree(SAMPLES / "incoming", tmp_path / "incoming"))
