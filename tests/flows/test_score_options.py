"""Options of `score` as they are typed: what is wrong is told in one line, before any work."""

import pytest

from flows import cli, commands, score
from flows.commands import score_request
from flows.request import Request
from pipeline.score.place import Share


@pytest.fixture
def options(incoming, radiograph_bundle, tmp_path):
    """Parses arguments of score."""

    def parse(*more):
        arguments = ["score", incoming, "--bundle", radiograph_bundle, "-o", tmp_path / "out", *more]
        return cli.build_parser().parse_args([str(word) for word in arguments])

    return parse


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "x", "1/3/5"])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_shard_that_is_none_is_wrong_use(options, tmp_path, capsys, shard, more):
    assert commands.run(options("--shard", shard, *more)) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"scanshift: --shard {shard}: expected i/n with 1 <= i <= n, such as 1/3\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_seconds_that_are_none_are_wrong_use(options, capsys, seconds):
    with pytest.raises(SystemExit) as ended:
        options(f"--settle={seconds}")
    assert ended.value.code == 2
    assert "expected seconds, 0 or more" in capsys.readouterr().err


def test_the_request_holds_what_was_asked_for(options, tmp_path):
    request = score_request(options("--settle", "5", "--retry", "--shard", "2/3"))
    assert {name: request.options[name] for name in ("settle", "retry", "shard")} == {
        "settle": 5.0,
        "retry": True,
        "shard": "2/3",
    }
    assert request.space.root == tmp_path / "out" / ".scanshift" / "shard-2-of-3"
    assert score.share_of(request) == Share(2, 3)


def test_a_request_from_before_there_were_shards_is_read():
    assert score.share_of(Request("score", "w", "r")) is None


def test_the_steps_of_a_flow_score_a_share(options, tmp_path):
    told = []
    for shard in ("2/2", "1/2"):
        request = score_request(options("--shard", shard, "--device", "cpu", "--settle", "0", "--retry")).save()
        with score.run_lock(request):
            for path in score.run_find(request):
                score.run_shard(request, path)
            told.append(score.run_finish(request))
    assert [bool(one["joined"]) for one in told] == [False, True]
    counts = [one["counts"]["scored"] for one in told]
    assert sum(counts) == 24
    assert 0 < counts[0] < 24
    assert (tmp_path / "out" / "scores.csv").read_text().count(",scored,") == 24


def test_a_dry_run_tells_of_the_share_alone(options):
    whole = commands.score(options("--dry-run"))["counts"]
    parts = [commands.score(options("--dry-run", "--shard", shard))["counts"] for shard in ("1/2", "2/2")]
    assert whole["to score"] == 24
    assert {key: sum(part[key] for part in parts) for key in whole} == whole


def test_a_disk_without_room_is_told_before_prefect_starts(options, tmp_path, capsys, monkeypatch):
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr("pipeline.workspace.shutil.disk_usage", lambda _path: usage)
    assert commands.run(options()) == 1
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "1 MiB free, about 200 MiB needed" in told.err
    assert not (tmp_path / "out").exists()
