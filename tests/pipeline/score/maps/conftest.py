"""The sample scans that maps are drawn on."""

import pytest

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources


@pytest.fixture(scope="session")
def sample_scans(samples):
    """Path relative to `sample_data` to reference and scan, of the radiographs, volumes and CT."""
    found = {}
    for folder in ("radiographs", "volumes", "ct"):
        for ref in scan_sources([samples / folder]):
            if ref.status != "ok":
                continue
            path = folder if folder == "ct" else f"{folder}/{ref.source}"
            found[path] = (ref, read_scan(ref))
    return found
