"""De-identifies what a test has built."""

from pathlib import Path

import pydicom
import pytest

from pipeline.deidentify.folder import deidentify_folder
from pipeline.deidentify.options import Options
from pipeline.deidentify.secret import Secret
from pipeline.watch import Watch
from tests.pipeline.deidentify.builders import Plants, make_ct, write

KEY = Secret(bytes(range(32)))


@pytest.fixture
def plants():
    """What is planted in one test."""
    return Plants()


@pytest.fixture
def ct(plants):
    """Builds a CT slice."""
    return lambda **tags: make_ct(plants, **tags)


@pytest.fixture
def save():
    """Writes an object."""
    return write


@pytest.fixture
def run(tmp_path):
    """De-identifies `tmp_path/in` into `tmp_path/out`, or the folders given."""

    def go(source="in", dest="out", secret=KEY, **options):
        return deidentify_folder(tmp_path / source, tmp_path / dest, secret, Options(**options), watch=Watch())

    return go


@pytest.fixture
def one(tmp_path, run, save):
    """De-identifies one object and gives it back as pydicom reads it, or the reason of its refusal."""

    def go(ds, **options):
        save(ds, tmp_path / "in" / "one.dcm")
        done = run(**options)
        row = done.rows[0]
        return pydicom.dcmread(tmp_path / "out" / row.file) if row.file else row.reason

    return go


@pytest.fixture
def shared_folder():
    """The folder of real data beside the checkout; skips the test where it is absent."""
    folder = Path(__file__).resolve().parents[3].parent / "shared"
    if not (folder / "dicom").is_dir():
        pytest.skip("../shared/dicom is not there")
    return folder
