"""Deflated data sets: inflated within bounds, and to their end only."""

import zlib

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources


@pytest.fixture
def deflated(tmp_path, radiograph, write):
    """Writes a deflated radiograph of two megabytes that deflate to little, with bytes behind its end."""

    def build(behind):
        path = write(
            radiograph(np.full((1024, 1024), 7, np.uint16)), tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian
        )
        path.write_bytes(path.read_bytes() + behind)
        (ref,) = scan_sources([tmp_path])
        return ref

    return build


@pytest.mark.timeout(60)
@pytest.mark.parametrize("behind", [b"", b"\0", b"junk" * 50_000], ids=["nothing", "padding", "junk"])
def test_what_follows_a_deflated_data_set_does_not_hold_it_up(deflated, behind):
    ref = deflated(behind)
    assert ref.status == "ok", ref.reason
    assert (read_scan(ref).voxels == 7).all()


def test_a_deflated_data_set_cut_short_is_refused(tmp_path, deflated):
    deflated(b"")
    path = tmp_path / "a.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("TRUNCATED_FILE")


def test_zlib_offers_bytes_behind_the_end_again():
    """Why the loop watches for the end: a found seed of the fuzz loop ran for ever."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(bytes(2**20 + 5)) + packer.flush() + b"behind"
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(packed, 2**20)
    inflater.decompress(inflater.unconsumed_tail, 2**20)
    assert inflater.eof
    assert inflater.unconsumed_tail
