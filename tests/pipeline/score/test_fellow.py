from dataclasses import replace

import pytest

from pipeline.errors import ClusterError
from pipeline.score import fellow
from pipeline.score.fellow import Job, await_parts, checked, describe_fellow, difference, greet, settle_engine, work
from pipeline.score.folder import plan_scores, sole_run, write_plan
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome
from pipeline.score.place import state_folder
from pipeline.watch import Watch

SCORED = Outcome("scored", "", (0.9, 0.1), 0.1, "normal")


@pytest.fixture
def job(samples, radiograph_bundle, tmp_path):
    space = state_folder(tmp_path, None).open()
    run = space.run_folder("score")
    write_plan(plan_scores(samples / "incoming", radiograph_bundle, space, device="cpu", watch=Watch()), run)
    made = Job(str(radiograph_bundle), str(space.root), str(run), "cpu", "eager")
    greet(made)
    return made


def shard(job):
    return f"{job.run}/shard-00000.json"


def test_two_processes_of_the_same_code_and_folders_agree(job):
    assert difference(describe_fellow(job), describe_fellow(job)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "/nowhere"}, r"the state folder cannot be used there \(No such file"),
        ({"bundle": "/nowhere"}, r"the bundle folder cannot be used there \(BundleError\); all must see the same one"),
    ],
)
def test_a_folder_that_is_not_seen_is_named(job, change, said):
    with pytest.raises(ClusterError, match=said):
        raise ClusterError(difference(describe_fellow(job), describe_fellow(replace(job, **change))))


def test_another_folder_at_the_same_path_is_told_apart(job):
    own = describe_fellow(job)
    greet(job)  # as if another machine had a folder of its own there
    assert difference(own, describe_fellow(job)).startswith("the state folder is another one there")


def test_a_processor_of_another_kind_is_told(job):
    """The ledger is keyed by it: what a GPU scored would not be found by a command without one."""
    own = describe_fellow(job)
    assert own["device"] == "cpu"
    assert difference(own, {**own, "device": "cuda"}) == "device is cuda there and cpu here"


def test_who_helps_a_run_that_was_killed_stops_when_another_begins(job, monkeypatch, tmp_path):
    """The first chunk of one series is in the ledger; the later run scores what is not."""
    monkeypatch.setattr("pipeline.score.scorer.CHUNK_SLICES", 1)
    own, append = describe_fellow(job), Ledger.append

    def begun(*arguments):
        append(*arguments)
        with sole_run(job.space, tmp_path):
            pass

    monkeypatch.setattr(Ledger, "append", begun)
    answer = work(job, shard(job), own)
    assert answer == {"error": "ClusterError", "words": "another run has begun in the state folder", "again": False}
    (part,) = Ledger(job.space.root / "ledger.jsonl").parts
    assert len((job.space.root / f"ledger-{part}.jsonl").read_text().splitlines()) == 1
    assert work(job, shard(job), own)["error"] == "ClusterError"
    greet(job)
    assert work(job, shard(job), own)["error"] == "ClusterError"


def test_other_code_or_packages_are_told(job):
    own = describe_fellow(job)
    assert difference(own, {**own, "code": "0"}) == f"code is 0 there and {own['code']} here"
    assert difference(own, {**own, "torch": "1.0"}) == f"torch is 1.0 there and {own['torch']} here"


def test_who_differs_scores_nothing(job):
    own = describe_fellow(job) | {"numpy": "0"}
    answer = work(job, shard(job), own)
    assert answer["error"] == "ClusterError"
    with pytest.raises(ClusterError, match=r"^shard-00000: numpy is .* there and 0 here$"):
        checked(shard(job), answer)
    assert not Ledger(job.space.root / "ledger.jsonl").parts


def test_a_shard_is_scored_once_into_a_part_of_its_own(job):
    own = describe_fellow(job)
    answer = work(job, shard(job), own)
    assert answer["counts"] == {"scored": 24}
    assert Ledger(job.space.root / "ledger.jsonl").parts == [answer["part"]]
    path = job.space.root / f"ledger-{answer['part']}.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert work(job, shard(job), own)["counts"] == {}


def test_an_errors_words_stay_where_they_may_name_a_file(job, monkeypatch):
    def fail(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", "/scans/Mueller_Hans.dcm")

    monkeypatch.setattr(fellow, "score_shard", fail)
    answer = work(job, shard(job), describe_fellow(job))
    assert answer == {"error": "PermissionError", "words": "Permission denied", "again": True}
    monkeypatch.setattr(fellow, "score_shard", lambda *_a, **_o: {}["Mueller_Hans"])
    assert work(job, shard(job), describe_fellow(job)) == {"error": "KeyError", "words": "", "again": False}


def test_the_engine_is_settled_once_for_all(job):
    assert settle_engine(job, shard(job)) == {"engine": "", "note": ""}  # asked for by name
    assert settle_engine(replace(job, engine="auto"), shard(job)) == {"engine": "eager", "note": ""}  # few to score


def test_parts_of_a_ledger_are_read_as_one(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append("key", "a", {"1": SCORED}, "eager")
    Ledger(path, "x-1-1").append("key", "b", {"2": SCORED, "3": SCORED}, "openvino")
    Ledger(path, "y-2-2").append("key", "c", {"4": SCORED}, "openvino")
    torn = tmp_path / "ledger-y-2-2.jsonl"
    torn.write_text(torn.read_text() * 2 + torn.read_text()[:40])
    assert set(Ledger(path).done("key")) == set(Ledger(path, "z").done("key")) == {"1", "2", "3", "4"}
    assert Ledger(path).engine("key") == "eager"  # its own first
    assert Ledger(path, "z").engine("key") == "eager"
    assert Ledger(path, "x-1-1").engine("key") == "openvino"
    assert Ledger(path).engine("other") == ""


def test_a_chunk_whose_lines_lie_in_two_parts_counts_where_all_are_there(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for part in ("x", "y"):
        Ledger(path, part).append("key", "a", {"1": SCORED, "2": SCORED})
    lines = (tmp_path / "ledger-x.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "ledger-x.jsonl").write_text(lines[0])
    assert set(Ledger(path).done("key")) == {"1", "2"}


def test_a_shard_reads_the_parts_of_those_alone_that_had_it(tmp_path):
    """Another process goes on behind the chunk of one that was lost, and sees nothing of other shards."""
    shard, path = tmp_path / "shard-00000.json", tmp_path / "ledger.jsonl"
    lost, other = Ledger(path, "x-1"), Ledger(path, "y-2")
    lost.append("key", "a", {"1": SCORED})
    assert lost.begin(shard) == {"x-1": lost.size}
    began = lost.size
    lost.append("key", "b", {"2": SCORED})
    other.append("key", "c", {"3": SCORED})
    since = other.begin(shard)
    assert since == {"x-1": began, "y-2": other.size}
    assert set(other.results("key", since)) == {"2"}
    assert Ledger(path).begin(shard) == {**since, "": 0}


def test_a_part_that_does_not_show_is_told(job):
    Ledger(job.space.root / "ledger.jsonl", "here").append("key", "a", {"1": SCORED})
    await_parts(job, ["here"], 0)
    with pytest.raises(ClusterError, match="1 parts of the ledger, written elsewhere, do not show here"):
        await_parts(job, ["here", "elsewhere"], 0)
