"""Every case of the truth set is read right or refused with the right code; second readers prove the truth itself."""

import numpy as np
import pytest

from pipeline.errors import Reason, ScanError
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from tests.pipeline.ingest.truth.case import CASES, load_all
from tests.pipeline.ingest.truth.second_readers import assert_proved
from tests.pipeline.ingest.truth.table import PAGE, in_page

load_all()

NAMES = [f"{case.family}-{case.name}" for case in CASES]


def outcome(ref):
    """What became of a reference: a scan, or the code for which there is none."""
    if ref.status != "ok":
        return Reason(ref.reason.partition(":")[0])
    try:
        return read_scan(ref)
    except ScanError as error:
        return error.code


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_case_is_read_right_or_refused_with_the_right_code(case, tmp_path):
    expected = case.write(tmp_path)
    refs = scan_sources([tmp_path])
    ignored = sorted(ref.reason.partition(":")[0] for ref in refs if ref.status == "ignored")
    outcomes = [(ref, outcome(ref)) for ref in refs if ref.status != "ignored"]
    refused = sorted(str(made) for _, made in outcomes if isinstance(made, Reason))
    scans = [(ref, made) for ref, made in outcomes if not isinstance(made, Reason)]
    assert (len(scans), refused, ignored) == (len(expected.volumes), [*expected.refused], [*expected.ignored])
    for (ref, scan), truth in zip(scans, expected.volumes, strict=True):
        assert scan.voxels.dtype == np.float32
        assert ref.shape == scan.voxels.shape[:3]
        assert (scan.modality, scan.inverted) == (truth.modality, truth.inverted)
        np.testing.assert_allclose(scan.voxels, truth.voxels.astype(np.float32), rtol=0, atol=truth.tolerance)
        assert scan.geometry == ref.geometry == ("none" if truth.affine is None else "patient")
        np.testing.assert_allclose(scan.affine, np.eye(4) if truth.affine is None else truth.affine, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_second_readers_agree_where_they_are_right(case, tmp_path):
    expected = case.write(tmp_path)
    for reader in expected.proof:
        assert_proved(reader, tmp_path, expected.volumes)


def test_the_set_is_as_large_as_promised():
    assert len(CASES) >= 70
    assert {case.row for case in CASES} >= {*range(1, 28)} - {4}
    assert len({(case.family, case.name) for case in CASES}) == len(CASES)


def test_the_page_lists_the_cases_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert in_page(page) == page
