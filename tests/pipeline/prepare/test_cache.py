import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare import cache as module
from pipeline.prepare.cache import SampleStore, trim
from pipeline.prepare.samples import Preparation

PREPARATION = Preparation(kind="photograph", modality="OT", image_size=32, slices=1, intensity="percentile")


@pytest.fixture
def refs(tmp_path):
    """Three readable pictures and a black one."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for n in range(3):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 40), np.uint8)).save(folder / f"{n}.png")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "black.png")
    return [ref for ref in scan_sources([folder]) if ref.status == "ok"]


@pytest.fixture
def store(tmp_path):
    return SampleStore(tmp_path / "cache", PREPARATION)


def test_samples_come_back_and_what_cannot_be_prepared_stops_nothing(store, refs):
    steps = []
    refused = store.fill(refs, steps.append)
    assert len(refs) == len(steps) == 4
    assert [reason.partition(":")[0] for reason in refused.values()] == ["NO_CONTRAST"]
    for ref in refs:
        if ref.key not in refused:
            assert store.load(ref.key).shape == (1, 1, 32, 32)
            assert store.load(ref.key).dtype == np.uint16


def test_a_series_is_decoded_once(store, refs, monkeypatch):
    readable = refs[:3]
    store.fill(readable)
    monkeypatch.setattr(module, "read_scan", lambda ref: pytest.fail("decoded again"))
    assert store.fill(readable) == {}


def test_the_content_decides_not_the_place(store, refs, tmp_path):
    before = store.path(refs[0].key)
    moved = tmp_path / "elsewhere.png"
    Path(refs[0].files[0]).rename(moved)
    (ref,) = scan_sources([moved])
    assert store.path(ref.key) == before
    assert store.path(refs[1].key) != before


def test_other_settings_have_other_files(store, refs, tmp_path):
    other = SampleStore(tmp_path / "cache", PREPARATION.model_copy(update={"image_size": 64}))
    assert other.path(refs[0].key) != store.path(refs[0].key)


def test_nothing_of_the_patient_is_in_a_files_name(store):
    path = store.path("content of MILLER")
    assert "MILLER" not in str(path.relative_to(store.folder))


@pytest.fixture
def aged(tmp_path):
    """Four files of 100 bytes, the first used longest ago."""
    folder = tmp_path / "aged"
    (folder / "deep").mkdir(parents=True)
    files = [folder / "deep" / str(n) for n in range(4)]
    for n, path in enumerate(files):
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 + n, 1000 + n))
    return folder, files


def test_trim_deletes_what_was_used_longest_ago(aged):
    folder, files = aged
    assert trim(folder, cap_bytes=250) == 200
    assert [path.exists() for path in files] == [False, False, True, True]


def test_trim_leaves_a_folder_under_its_cap_alone(aged):
    folder, files = aged
    assert trim(folder, cap_bytes=400) == 0
    assert all(path.exists() for path in files)


def test_trim_keeps_what_it_is_told_to_keep(aged):
    folder, files = aged
    assert trim(folder, cap_bytes=0, keep=[files[0]]) == 300
    assert [path.exists() for path in files] == [True, False, False, False]


def test_use_makes_a_sample_young(store, refs):
    store.fill(refs[:2])
    for ref in refs[:2]:
        os.utime(store.path(ref.key), (1000, 1000))
    store.add(refs[0])
    trim(store.folder, cap_bytes=store.path(refs[0].key).stat().st_size)
    assert [store.path(ref.key).exists() for ref in refs[:2]] == [True, False]


def test_a_file_that_another_run_deletes_meanwhile_does_not_stop_trimming(aged, monkeypatch):
    folder, files = aged
    real = Path.is_file

    def vanishing(path):
        found = real(path)
        if path == files[1]:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", vanishing)
    assert trim(folder, cap_bytes=200) == 100
    assert [path.exists() for path in files] == [False, False, True, True]


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert trim(tmp_path / "none") == 0
