import json

import numpy as np
import pytest

from models.bundle import open_bundle, write_bundle
from models.errors import BundleError
from pipeline.learn.known_pictures import BYTES, copies_among, known_pictures, read_known_pictures
from pipeline.learn.leakage import FILE, parse_training_set, read_training_set, training_set
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.prepare.samples import Preparation
from pipeline.scan import SeriesRef
from tests.pipeline.prepare.made_up import cropped, picture

SALT = "ab" * 16
GOOD = "00" * BYTES


def scan(seed):
    return picture(seed)[None, None]


def stored(folder, seeds):
    """A store with made-up scans, and their cases."""
    preparation = Preparation(kind="radiograph", modality="CR/DX", image_size=224, slices=1, intensity="auto")
    store = SampleStore(folder, preparation)
    for seed in seeds:
        path = store.path(f"content {seed}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, scan(seed))
    refs = [SeriesRef(f"{seed}.dcm", str(seed), "ok", content=f"content {seed}") for seed in seeds]
    return store, [Case(ref, ("n",), f"MILLER{n}", True, "train", (), n) for n, ref in enumerate(refs)]


def test_copies_are_found_and_others_are_not():
    known = known_pictures([scan(1), scan(2)], SALT, 1)
    again = read_known_pictures(json.loads(json.dumps(known.record())), SALT)
    assert again == known
    asked = [scan(3), scan(2), cropped(picture(1), 6)[None, None]]
    assert copies_among(asked, [again]).tolist() == [False, True, True]
    assert copies_among(asked, [again], moved=False).tolist() == [False, True, False]
    assert copies_among([], [again]).tolist() == []
    assert copies_among(asked, []).tolist() == [False] * 3


def test_pictures_of_a_parent_count_and_are_hashed_under_its_own_salt(tmp_path):
    store, cases = stored(tmp_path, [1, 2])
    parent = training_set(cases[:1], (), store)
    child = parse_training_set(training_set(cases[1:], (parent,), store).to_json())
    assert copies_among([scan(1), scan(2), scan(3)], child.all_pictures()).tolist() == [True, True, False]
    assert len({pictures.salt for pictures in child.all_pictures()}) == 2


def test_a_scan_takes_64_bytes_and_order_tells_nothing(tmp_path):
    store, cases = stored(tmp_path, range(6))
    seen = training_set(cases, (), store)
    assert len(seen.pictures.hashes) == 64 * 6
    rows = json.loads(seen.to_json())["pictures"]["hashes"]
    assert rows == sorted(rows)
    assert training_set(reversed(cases), (), store).pictures.hashes != seen.pictures.hashes  # another salt
    assert "MILLER" not in seen.to_json()


def test_a_bundle_from_before_opens_and_knows_no_pictures(new_bundle, tmp_path):
    seen = read_training_set(open_bundle(new_bundle(tmp_path / "old")))
    assert seen.pictures is None
    assert seen.all_pictures() == []


def with_training_set(bundle, folder, text):
    opened = open_bundle(bundle)
    texts = {"configs/scanshift.yaml": opened.text("configs/scanshift.yaml"), FILE: text}
    return write_bundle(folder, texts, {"models/model.pt": opened.tensors()})


def hostile(**pictures):
    record = {"version": 1, "slabs": 1, "hashes": [GOOD]} | pictures
    return json.dumps({"salt": SALT, "patients": [], "series": [], "pictures": record})


@pytest.mark.parametrize(
    "text",
    [
        hostile(hashes=[GOOD[:-2]]),
        hostile(hashes=[GOOD, GOOD + "00"]),
        hostile(hashes=["zz" * BYTES]),
        hostile(hashes=[" 0" * BYTES]),
        hostile(hashes=[0]),
        hostile(hashes=GOOD),
        hostile(hashes=None),
        hostile(hashes={"0": GOOD}),
        hostile(slabs=2),
        hostile(slabs=10**9),
        hostile(slabs=None),
        hostile(version=2),
        json.dumps({"salt": SALT, "patients": [], "series": [], "pictures": []}),
        json.dumps({"salt": "no hex", "patients": [], "series": []}),
        json.dumps({"salt": 5, "patients": [], "series": []}),
        json.dumps({"salt": SALT, "patients": [], "series": [], "parents": [{"salt": SALT}]}),
        "[" * 100_000,
    ],
)
def test_hashes_that_make_no_sense_are_a_bundle_error(radiograph_bundle, tmp_path, text):
    bundle = with_training_set(radiograph_bundle, tmp_path / "bundle", text)
    with pytest.raises(BundleError, match=r"training_set\.json is not readable"):
        read_training_set(bundle)


def test_too_many_hashes_or_too_large_a_file_is_a_bundle_error(radiograph_bundle, tmp_path, monkeypatch):
    bundle = with_training_set(radiograph_bundle, tmp_path / "bundle", hostile(hashes=[GOOD] * 3))
    read_training_set(bundle)
    monkeypatch.setattr("pipeline.learn.known_pictures.MOST", 2)
    with pytest.raises(BundleError, match="not readable"):
        read_training_set(bundle)
    monkeypatch.setattr("pipeline.learn.leakage.MOST_BYTES", 100)
    with pytest.raises(BundleError, match="larger than"):
        read_training_set(bundle)
