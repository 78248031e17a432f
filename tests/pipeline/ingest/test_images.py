"""PNG and JPEG files written with Pillow."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources

GREY = np.random.default_rng(2).integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(2).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.fixture
def ref_of(tmp_path):
    """Saves an image and returns the one reference found."""

    def build(pixels, name="a.png", **how):
        Image.fromarray(pixels).save(tmp_path / name, **how)
        (ref,) = scan_sources([tmp_path])
        return ref

    return build


def test_grey_is_one_slice_without_geometry(ref_of):
    ref = ref_of(GREY)
    scan = read_scan(ref)
    np.testing.assert_array_equal(scan.voxels, GREY.T[:, :, None])
    assert (ref.modality, ref.shape, scan.geometry, ref.kind) == ("OT", (9, 6, 1), "none", "photograph")
    assert scan.voxels.dtype == np.float32


def test_colour_keeps_its_channels(ref_of):
    ref = ref_of(COLOUR)
    np.testing.assert_array_equal(read_scan(ref).voxels[:, :, 0], COLOUR.swapaxes(0, 1))
    assert ref.modality == "XC"


def test_grey_stored_as_colour_is_grey(ref_of):
    ref = ref_of(np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(read_scan(ref).voxels, GREY.T[:, :, None])
    assert ref.modality == "OT"


def test_16_bit_keeps_its_depth(ref_of):
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_scan(ref_of(deep)).voxels[:, :, 0], deep.T)


def test_jpeg_is_turned_as_exif_says(ref_of):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    smooth = np.add.outer(np.arange(16) * 8, np.arange(24)).astype(np.uint8)
    ref = ref_of(smooth, "a.jpg", exif=exif, quality=100)
    assert ref.shape == (16, 24, 1)
    np.testing.assert_allclose(read_scan(ref).voxels[:, :, 0].T, np.rot90(smooth, -1), atol=2)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_cut_image_is_truncated(tmp_path, ref_of, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    ref_of(noise, name)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("TRUNCATED_FILE: ")


def test_too_many_pixels_are_over_budget(tmp_path, ref_of):
    ref_of(GREY)
    path = tmp_path / "a.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("OVER_BUDGET: ")


def png_of(rows, columns, samples, bits=8, interlaced=0):
    """A PNG of grey whose rows are put by hand, as many as are given."""

    def chunk(name, content):
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    head = struct.pack(">LLBBBBB", columns, rows, bits, 0, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in samples))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("rows", [6, 5, 1])
def test_png_of_fewer_rows_than_it_says_is_refused(tmp_path, rows):
    (tmp_path / "a.png").write_bytes(png_of(6, 9, [bytes(row) for row in GREY[:rows]]))
    (ref,) = scan_sources([tmp_path])
    if rows == 6:
        np.testing.assert_array_equal(read_scan(ref).voxels[:, :, 0].T, GREY)
    else:
        assert ref.reason.startswith("CORRUPT_FILE: ")


def test_interlaced_png_is_read(tmp_path):
    passes = [GREY[i::y, j::x] for i, y, j, x in ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4))]
    passes += [GREY[i::y, j::x] for i, y, j, x in ((2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))]
    rows = [row.tobytes() for part in passes for row in part]
    (tmp_path / "a.png").write_bytes(png_of(6, 9, rows, interlaced=1))
    (ref,) = scan_sources([tmp_path])
    np.testing.assert_array_equal(read_scan(ref).voxels[:, :, 0].T, GREY)


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_jpeg_ended_before_its_last_pixel_is_refused(tmp_path, how):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path, **how)
    whole = path.read_bytes()
    assert [ref.status for ref in scan_sources([tmp_path])] == ["ok"]
    path.write_bytes(whole + b"trailer of some camera")
    assert [ref.status for ref in scan_sources([tmp_path])] == ["ok"]
    path.write_bytes(whole[:-200] + b"\xff\xd9")
    (ref,) = scan_sources([tmp_path])
    assert ref.reason.startswith("TRUNCATED_FILE: ")
