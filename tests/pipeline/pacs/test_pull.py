"""Pulling from a source that a test makes up: what is tried again, what is left out, what is told."""

import json
from collections import Counter

import pydicom
import pytest

from pipeline.errors import DiskSpaceError, PacsError
from pipeline.pacs.object_ids import read_ids
from pipeline.pacs.pull import Puller
from pipeline.pacs.query import FoundSeries, Query
from pipeline.pacs.store import IncomingStore
from pipeline.watch import Watch
from tests.pipeline.pacs.sender import CT, image


class Pacs:
    """Has series 1 to n of three images each; each fetch does what the plan says, then all is well.

    A plan is a list of numbers of images that come, or (number, error) after which it breaks.
    """

    def __init__(self, store, series=1, plan=(), find_errors=(), images=3):
        self.store, self.plan, self.find_errors = store, list(plan), list(find_errors)
        self.series = [FoundSeries(f"1.2.826.8.{n}", f"1.2.826.7.{n}", images) for n in range(1, series + 1)]
        self.fetched = []

    def find(self, _query):
        if self.find_errors:
            raise self.find_errors.pop(0)
        return self.series

    def fetch(self, found, counts):
        self.fetched.append(found.series)
        step = self.plan.pop(0) if self.plan else 3
        number, error = step if isinstance(step, tuple) else (step, None)
        for k in range(number):
            ds = image(int(found.series.rpartition(".")[2]), k)
            ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CT, ds.SOPInstanceUID
            part = self.store.new_part()
            pydicom.dcmwrite(part, ds, enforce_file_format=True, overwrite=True)
            counts[self.store.keep(part, read_ids(part)).value] += 1
        if error:
            raise error


AGAIN = PacsError("the answer broke off", again=True)
FOR_GOOD = PacsError("HTTP 404")


@pytest.fixture
def store(tmp_path):
    return IncomingStore(tmp_path / "in", "pull")


def run(pacs, tries=3):
    """What a pull gave, how long it paused, what it noted."""
    pauses, notes = [], []
    puller = Puller(pacs, pacs.store, tries, pauses.append)
    return puller.pull(Query(), Watch(note=notes.append)), pauses, notes


def test_a_complete_series_is_not_asked_for_again_even_when_its_files_were_taken_away(store):
    assert run(Pacs(store, 2))[0].series == {"complete": 2}
    for path in store.folder.glob("*/*.dcm"):
        path.unlink()
    pacs = Pacs(store, 3)
    assert run(pacs)[0].series == {"here already": 2, "complete": 1}
    assert pacs.fetched == ["1.2.826.7.3"]


def test_the_state_is_private_and_names_no_series(store):
    run(Pacs(store, 2))
    path = store.own / "pulled.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(path.read_text()).values()) == [3, 3]
    assert "1.2.826" not in path.read_text()


def test_a_series_that_has_more_by_now_is_fetched_again(store):
    run(Pacs(store, images=2, plan=[2]))
    again = run(Pacs(store))[0]
    assert (again.series, again.objects) == ({"complete": 1}, {"repeated": 2, "stored": 1})


def test_what_breaks_off_is_tried_again_after_growing_pauses(store):
    pulled, pauses, notes = run(Pacs(store, plan=[(1, AGAIN), (2, AGAIN)]))
    assert pulled.series == {"complete": 1}
    assert pulled.objects == {"stored": 3, "repeated": 3}
    assert pauses == [1, 2]
    assert notes == ["the answer broke off"]


def test_what_stays_broken_is_told_with_what_is_missing(store):
    pulled, pauses, _ = run(Pacs(store, 2, plan=[(1, AGAIN)] * 3))
    assert pulled.series == {"failed": 1, "complete": 1}
    assert pulled.missing == 2
    assert len(pauses) == 2


def test_what_cannot_pass_next_time_is_not_tried_again(store):
    pacs = Pacs(store, 2, plan=[(0, FOR_GOOD)])
    assert run(pacs)[0].series == {"failed": 1, "complete": 1}
    assert len(pacs.fetched) == 2


def test_fewer_objects_than_announced_make_an_incomplete_series(store):
    pulled = run(Pacs(store, images=5))[0]
    assert (pulled.series, pulled.missing) == ({"incomplete": 1}, 2)
    assert not (store.own / "pulled.json").exists()


def test_a_series_of_unannounced_length_is_complete_when_it_ends_well(store):
    assert run(Pacs(store, images=0))[0].series == {"complete": 1}


def test_nothing_at_all_is_an_error(store):
    with pytest.raises(PacsError, match=r"nothing could be fetched: HTTP 404"):
        run(Pacs(store, 2, plan=[(0, FOR_GOOD)] * 2))
    with pytest.raises(PacsError, match="no object came"):
        run(Pacs(store, plan=[0, 0, 0]))


def test_no_series_is_no_error(store):
    assert run(Pacs(store, 0))[0].record() == {"series": {}, "objects": {}, "missing": 0, "trouble": []}


def test_a_query_is_tried_again_if_it_may_pass(store):
    assert run(Pacs(store, find_errors=[AGAIN, AGAIN]))[0].series == {"complete": 1}
    with pytest.raises(PacsError, match="broke off"):
        run(Pacs(store, find_errors=[AGAIN] * 3))
    with pytest.raises(PacsError, match="404"):
        run(Pacs(store, find_errors=[FOR_GOOD, AGAIN]))


def test_a_full_disk_ends_the_run_and_keeps_what_came(store):
    pulled, _, notes = run(Pacs(store, 4, plan=[3, (1, DiskSpaceError("incoming folder: too little disk space"))]))
    assert pulled.series == {"complete": 1, "failed": 3}
    assert notes == ["incoming folder: too little disk space"]
    assert Counter(path.parent.name for path in store.folder.glob("*/*.dcm")).total() == 4


def test_a_series_of_unannounced_length_of_which_something_was_refused_is_not_complete(store):
    class Refusing(Pacs):
        def fetch(self, found, counts):
            super().fetch(found, counts)
            counts["refused (CORRUPT_HEADER)"] += 1

    assert run(Refusing(store, images=0))[0].series == {"failed": 1}
    assert run(Refusing(store, images=3))[0].series == {"complete": 1}


@pytest.mark.parametrize("content", ['{"a": ', "[]", '{"a": null}', ""])
def test_a_state_that_cannot_be_read_is_as_none(store, content):
    run(Pacs(store))
    (store.own / "pulled.json").write_text(content)
    assert run(Pacs(store))[0].objects == {"repeated": 3}
