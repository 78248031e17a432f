"""DICOM files by pydicom alone, as the tests of ingest write them."""

import pytest

from pipeline.check.survey import check_sources
from tests.pipeline.ingest.conftest import Slices, radiograph, save, save_all, shared_folder  # fixtures among them

__all__ = ["radiograph", "shared_folder"]


@pytest.fixture
def slices():
    """A plain CT series of 10 slices, 2.5 mm apart."""
    return Slices()


@pytest.fixture
def new_slices():
    """The class of series, for those that are not plain."""
    return Slices


@pytest.fixture
def write():
    """Writes one data set to a path."""
    return save


@pytest.fixture
def write_all():
    """Writes all slices of a series into a folder."""
    return save_all


@pytest.fixture
def check_folder(tmp_path):
    """Checks the folder `tmp_path/scans`."""

    def check(**how):
        return check_sources([tmp_path / "scans"], **how)

    return check


@pytest.fixture
def only(check_folder):
    """The one series of a folder, checked."""

    def check(**how):
        (row,) = [row for row in check_folder(**how).rows if row.belongs]
        return row

    return check
