"""Several machines, one folder: each scores its share, and the last one writes what one machine would have."""

import csv
import json
import shutil

import pytest

from models.bundle import open_bundle
from pipeline.errors import BusyError, ConfigError
from pipeline.model_record import read_record
from pipeline.scan import SeriesRef
from pipeline.score import scorer
from pipeline.score.folder import score_folder
from pipeline.score.outcome import Outcome
from pipeline.score.place import STATE, Share, parse_share
from pipeline.score.share import MARK, complete, join
from pipeline.score.table import write_scores
from pipeline.watch import Watch
from pipeline.workspace import exclusive


@pytest.mark.parametrize("text", ["1/1", "1/3", "3/3", "10/12"])
def test_a_share_is_i_of_n(text):
    number, of = map(int, text.split("/"))
    assert parse_share(text) == Share(number, of)


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1/0", "-1/3", "1/-3", "1", "1/", "/3", "a/b", "1/3/5", "1.0/3", "01/3", "1/3\n"]
)
def test_anything_else_is_told(text):
    with pytest.raises(ConfigError, match="expected i/n"):
        parse_share(text)


def test_every_row_is_one_machines_by_content_or_source():
    refs = [SeriesRef(f"s{n}", f"1.{n}", "ok", content=f"c{n}") for n in range(300)]
    refs += [SeriesRef(f"f{n}", "", "ignored", "ARCHIVE: x", content="same") for n in range(300)]
    owners = [[share.number for share in Share(1, 3).all() if share.holds(ref)] for ref in refs]
    assert {len(found) for found in owners} == {1}
    for half in (owners[:300], owners[300:]):
        assert all(60 < half.count([number]) < 140 for number in (1, 2, 3))
    moved = SeriesRef("elsewhere", "1.5", "ok", content="c5")
    assert [share.holds(moved) for share in Share(1, 3).all()] == [share.holds(refs[5]) for share in Share(1, 3).all()]


@pytest.fixture
def alone(incoming, radiograph_bundle, tmp_path):
    """The table that one machine writes; two places of one content are among the rows."""
    shutil.copy(next(incoming.rglob("N*.dcm")), incoming / "again.dcm")
    score_folder(incoming, radiograph_bundle, tmp_path / "alone", device="cpu")
    return (tmp_path / "alone" / "scores.csv").read_bytes()


def test_the_last_machine_writes_what_one_would_have_written(incoming, radiograph_bundle, tmp_path, alone, monkeypatch):
    out, notes, read = tmp_path / "out", [], []
    real = scorer.read_scan
    monkeypatch.setattr(scorer, "read_scan", lambda ref: read.append(ref.source) or real(ref))
    for share in (Share(2, 3), Share(3, 3), Share(1, 3)):
        assert not (out / "scores.csv").exists()
        told = score_folder(incoming, radiograph_bundle, out, device="cpu", share=share, watch=Watch(note=notes.append))
        assert told["scores"] == str(share.table(out))
        assert share.table(out).stat().st_mode & 0o777 == 0o600
    assert told["joined"] == str(out / "scores.csv")
    assert (out / "scores.csv").read_bytes() == alone
    assert (out / "scores.csv").stat().st_mode & 0o777 == 0o600
    assert sorted(read) == sorted(set(read))  # nothing was scored twice
    assert notes == [
        "scores.csv waits for shards that are not done, or used another bundle: 1-of-3, 3-of-3",
        "scores.csv waits for shards that are not done, or used another bundle: 1-of-3",
    ]
    assert {path.name for path in out.iterdir()} == {STATE, "scores.csv", *(s.table(out).name for s in share.all())}


def test_a_machine_that_is_run_again_changes_nothing(incoming, radiograph_bundle, tmp_path, alone, monkeypatch):
    out = tmp_path / "out"
    for share in Share(1, 2).all():
        score_folder(incoming, radiograph_bundle, out, device="cpu", share=share)
    monkeypatch.delattr(scorer, "read_scan")
    score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(1, 2))
    assert (out / "scores.csv").read_bytes() == alone


def test_tables_of_two_bundles_are_not_merged(incoming, radiograph_bundle, new_bundle, tmp_path):
    out, other = tmp_path / "out", new_bundle(tmp_path / "other", threshold=0.01)
    score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(1, 2))
    told = score_folder(incoming, other, out, device="cpu", share=Share(2, 2))
    assert (told["joined"], (out / "scores.csv").exists()) == ("", False)
    assert told["notice"].endswith("or used another bundle: 1-of-2")
    score_folder(incoming, other, out, device="cpu", share=Share(1, 2))
    score_folder(incoming, other, tmp_path / "alone", device="cpu")
    assert (out / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()


def test_machines_that_saw_different_folders_say_so(incoming, radiograph_bundle, tmp_path):
    out, late = tmp_path / "out", incoming / "late.txt"
    score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(1, 2))
    late.write_text("came later")
    told = score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(2, 2))
    assert told["notice"].startswith("the machines found different scans")
    score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(1, 2))
    score_folder(incoming, radiograph_bundle, tmp_path / "alone", device="cpu")
    assert (out / "scores.csv").read_bytes() == (tmp_path / "alone" / "scores.csv").read_bytes()


@pytest.fixture
def tables(radiograph_bundle, tmp_path):
    """Writes the tables of two machines, complete, from references."""
    record = read_record(open_bundle(radiograph_bundle))

    def build(*shares):
        for number, refs in enumerate(shares, start=1):
            done = {ref.key: Outcome("scored", "", (0.5, 0.5), 0.5, "normal") for ref in refs}
            one = Share(number, len(shares))
            write_scores(one.table(tmp_path), sorted(refs, key=lambda ref: ref.source), done, record, "d")
            complete(one, tmp_path, model="d", listing="l")
        every = sorted((ref for refs in shares for ref in refs), key=lambda ref: ref.source)
        done = {ref.key: Outcome("scored", "", (0.5, 0.5), 0.5, "normal") for ref in every}
        write_scores(tmp_path / "wanted.csv", every, done, record, "d")
        return (tmp_path / "wanted.csv").read_bytes()

    return build


def test_odd_names_come_through_the_merge(tables, tmp_path):
    names = ['a"b', "a,b", "a\rb", "\r", "a\nb", "=a", "ü", "a", "a/b", "", "\\xff"]
    refs = [SeriesRef(name, uid, "ok", content=name + uid) for name in names for uid in ("1.2", "=1", "'=1", "")]
    wanted = tables(refs[::2], refs[1::2])
    assert join(Share(2, 2), tmp_path, "d").table == tmp_path / "scores.csv"
    assert (tmp_path / "scores.csv").read_bytes() == wanted
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        assert {row["source"] for row in csv.DictReader(file)} == set(names)


def test_a_table_that_is_not_as_it_was_marked_is_not_merged(tables, tmp_path):
    tables([SeriesRef("a", "1", "ok", content="a")], [SeriesRef("b", "2", "ok", content="b")])
    with Share(1, 2).table(tmp_path).open("a") as file:
        file.write("half a ro")
    assert join(Share(2, 2), tmp_path, "d").missing == (Share(1, 2),)
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "d"}'])
def test_a_damaged_mark_is_none(tables, tmp_path, text):
    tables([SeriesRef("a", "1", "ok", content="a")], [SeriesRef("b", "2", "ok", content="b")])
    (Share(1, 2).state(tmp_path) / MARK).write_text(text)
    assert join(Share(2, 2), tmp_path, "d").missing == (Share(1, 2),)


def test_a_run_that_begins_takes_its_mark_back(incoming, radiograph_bundle, tmp_path):
    out = tmp_path / "out"
    for share in Share(1, 2).all():
        score_folder(incoming, radiograph_bundle, out, device="cpu", share=share)
    empty = tmp_path / "not mounted"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="nothing found to score"):
        score_folder(empty, radiograph_bundle, out, device="cpu", share=Share(1, 2))
    assert not (Share(1, 2).state(out) / MARK).exists()
    assert json.loads((Share(2, 2).state(out) / MARK).read_text())["model"] == open_bundle(radiograph_bundle).digest
    assert (out / "scores.csv").stat().st_size > 1000


def test_one_machine_alone_and_machines_together_keep_out_of_each_others_way(incoming, radiograph_bundle, tmp_path):
    out = tmp_path / "out"
    with exclusive(Share(1, 2).state(out)):
        with pytest.raises(BusyError):
            score_folder(incoming, radiograph_bundle, out, device="cpu")
        with pytest.raises(BusyError):
            score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(1, 2))
        score_folder(incoming, radiograph_bundle, out, device="cpu", share=Share(2, 2))
