import stat
from pathlib import Path

from flows.request import Request, read_request


def test_a_request_comes_back_as_it_was_saved(tmp_path):
    request = Request(
        verb="score",
        workspace=str(tmp_path),
        run=str(tmp_path / "runs" / "score" / "1"),
        sources=("/data/ä b", "c"),
        bundle="/b",
        out="/o",
        options={"device": "cpu", "heatmaps": True, "window": [1.5, 2.0]},
    )
    path = request.save()
    assert read_request(path) == request
    assert Path(path).parent == tmp_path / "runs" / "score" / "1"
    assert request.space.root == tmp_path


def test_only_its_owner_may_read_it(tmp_path):
    path = Path(Request("ingest", str(tmp_path), str(tmp_path)).save())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
