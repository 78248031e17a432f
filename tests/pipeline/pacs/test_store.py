"""The incoming folder: durable before it is named, one name for one object, whoever comes first."""

import os
from multiprocessing import get_context
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.errors import BusyError
from pipeline.pacs.object_ids import read_ids
from pipeline.pacs.store import IncomingStore, Kept
from tests.pipeline.pacs.sender import CT, image


def part_of(store, ds, syntax=ExplicitVRLittleEndian):
    """An object as received."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CT, ds.SOPInstanceUID
    part = store.new_part()
    pydicom.dcmwrite(part, ds, enforce_file_format=True, overwrite=True)
    return part


def keep(store, ds, syntax=ExplicitVRLittleEndian):
    part = part_of(store, ds, syntax)
    return store.keep(part, read_ids(part))


@pytest.fixture
def store(tmp_path):
    return IncomingStore(tmp_path / "in", "pull")


def test_an_object_is_on_disk_before_it_has_its_name(store, monkeypatch):
    steps = []
    sync, rename = os.fsync, type(store.folder).rename

    def noting(handle):
        steps.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(type(store.folder), "rename", lambda path, to: (steps.append("rename"), rename(path, to)))
    part = part_of(store, image(1, 0))
    steps.clear()
    assert store.keep(part, read_ids(part)) is Kept.STORED
    folder = store.series_folder("1.2.826.7.1")
    assert steps == [str(part), "rename", str(folder), str(store.folder)]


def test_the_first_of_two_is_kept(store):
    other = image(1, 1)
    other.SOPInstanceUID = image(1, 0).SOPInstanceUID
    assert keep(store, image(1, 0)) is Kept.STORED
    assert keep(store, image(1, 0)) is Kept.REPEATED
    assert keep(store, other) is Kept.DIFFERENT
    assert keep(store, image(1, 0), ImplicitVRLittleEndian) is Kept.DIFFERENT
    assert store.held("1.2.826.7.1") == 1
    assert list(store.receiving.iterdir()) == []


def test_names_depend_on_the_folders_key(store, tmp_path):
    other = IncomingStore(tmp_path / "other", "pull")
    again = IncomingStore(tmp_path / "in", "listen")
    assert store.name("series", "1.2") == again.name("series", "1.2")
    assert store.name("series", "1.2") != other.name("series", "1.2")
    assert store.name("series", "1.2") != store.name("object", "1.2")


def test_one_process_in_a_role_and_what_a_killed_one_left_is_deleted(store, tmp_path):
    left = store.new_part()
    listener = IncomingStore(tmp_path / "in", "listen")
    its = listener.new_part()
    with store.claimed():
        assert not left.exists()
        assert its.exists()
        with pytest.raises(BusyError), IncomingStore(tmp_path / "in", "pull").claimed():
            pytest.fail("two at once")
        with listener.claimed():
            assert not its.exists()


def _keep_all(folder, role, barrier, queue):
    store = IncomingStore(folder, role)
    barrier.wait(60)
    queue.put([str(keep(store, image(1, k))) for k in range(40)])


def test_of_two_processes_with_the_same_objects_each_is_stored_once(tmp_path):
    context = get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    arguments = [(tmp_path / "in", role, barrier, queue) for role in ("listen", "pull")]
    workers = [context.Process(target=_keep_all, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    first, second = queue.get(timeout=60), queue.get(timeout=60)
    for worker in workers:
        worker.join(60)
    assert [{a, b} for a, b in zip(first, second, strict=True)] == [{"stored", "repeated"}] * 40
