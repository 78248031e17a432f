"""A registry of its own for each test, on SQLite and on PostgreSQL, and bundles small enough to make many."""

import contextlib
from pathlib import Path

import pytest

from models.bundle import SETTINGS, write_bundle
from pipeline.config import Config
from pipeline.model_record import FORMAT, ModelRecord
from pipeline.prepare.samples import Preparation
from pipeline.registry.records import Measurement, Model, SiteFigure
from pipeline.registry.store import Registry
from pipeline.workspace import Workspace


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of an empty database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def registry(url):
    """An empty registry."""
    with contextlib.closing(Registry(url)) as made:
        yield made


@pytest.fixture
def space(tmp_path):
    """A workspace on SQLite."""
    return Workspace(tmp_path / "ws").open()


def model(letter, **changes):
    values = {
        "digest": letter * 64,
        "parent": "",
        "task": "multiclass",
        "backbone": "resnet18",
        "classes": ("normal", "pneumonia"),
        "created": "2026-01-01T00:00:00+00:00",
        "folder": Path("/models") / letter,
    }
    return Model(**values | changes)


@pytest.fixture
def new_model():
    """Builds what the registry keeps of a bundle whose digest is one digit 64 times."""
    return model


@pytest.fixture
def validated():
    """A line of `validate`."""
    sites = (SiteFigure("north", 60, 0.8, 0.7, 0.9), SiteFigure("west", 4, None, None, None))
    return Measurement("2026-02-01T00:00:00+00:00", "validate", "test rows", 100, 80, 0.875, 0.8, 0.9375, sites)


@pytest.fixture
def bundle_in():
    """Writes a bundle without a network into a folder; each seed makes another digest."""

    def write(folder, seed=0, parent=""):
        record = ModelRecord(
            format=FORMAT,
            created="2026-01-01T00:00:00+00:00",
            classes=("normal", "opacity"),
            task="multiclass",
            backbone="squeezenet1_1",
            variant="",
            pooling="mean",
            preparation=Preparation(kind="radiograph", modality="CR/DX", image_size=64, slices=1, intensity="auto"),
            temperature=1.0,
            thresholds={"normal": 0.5, "opacity": 0.5},
            anomaly_threshold=0.5,
            policy={"rule": "sensitivity=0.95", "measured_on": "nothing: fixed by hand"},
            parent=parent,
            weights={"origin": "random", "sha256": ""},
            training={},
            random_reference=None,
            config=Config(classes=("normal", "opacity"), weights="none", seed=seed),
        )
        return write_bundle(folder, {SETTINGS: record.to_yaml()}, {"models/model.pt": {}})

    return write
