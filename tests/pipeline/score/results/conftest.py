"""A bundle's record, results of it, and images with whatever header a test asks for."""

import numpy as np
import pytest

from models.bundle import open_bundle
from pipeline.ingest.scan_folder import scan_sources
from pipeline.model_record import read_record
from pipeline.score.origin import Origin
from pipeline.score.outcome import Outcome
from tests.pipeline.ingest.truth.dicom import image, save, single

KEY = b"k" * 32
SCORED = Outcome("scored", "", (0.28766, 0.71234), 0.71234, "anomaly")


@pytest.fixture(scope="session")
def model(radiograph_bundle):
    """Record and origin of the untrained bundle."""
    opened = open_bundle(radiograph_bundle)
    return read_record(opened), Origin(opened.digest, KEY)


@pytest.fixture
def radiograph(tmp_path):
    """Writes a radiograph with some header values, without those that are None, and gives its reference."""

    def write(name="one", modality="DX", **tags):
        stored = np.random.default_rng(0).integers(0, 4096, (12, 10))
        made = single(modality, "1.1", image(stored), **{k: v for k, v in tags.items() if v is not None})
        for keyword in [keyword for keyword, value in tags.items() if value is None]:
            del made[keyword]
        save(made, tmp_path / "images" / f"{name}.dcm")
        refs = [ref for ref in scan_sources([tmp_path / "images"]) if ref.source == f"{name}.dcm"]
        assert [ref.status for ref in refs] == ["ok"]
        return refs[0]

    return write
