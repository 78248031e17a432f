import json
import stat

import pytest

from pipeline.scan import SeriesRef
from pipeline.score.ref_file import read_refs, write_refs

ONE = SeriesRef("a/ü\n,b", "1.2", "ok", files=("/x/1.dcm", "/x/2.dcm"), shape=(4, 5, 2), content="c", stamp="s")
TWO = SeriesRef("b", "", "refused", "EMPTY_FILE: empty", files=("/x/\udcff",))


@pytest.mark.parametrize("refs", [[], [ONE], [ONE, TWO, ONE]])
def test_what_was_written_is_read_again_and_again(tmp_path, refs):
    path = tmp_path / "plan.json"
    write_refs(path, iter(refs), run_series=7, listing="l")
    found = read_refs(path)
    assert found.about == {"run_series": 7, "listing": "l"}
    assert list(found) == refs
    assert [ref.stamp for ref in found] == [ref.stamp for ref in refs]
    assert len(json.loads(path.read_text())["series"]) == len(refs)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_cut_file_is_not_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "plan.json"
    write_refs(path, [ONE, TWO], run_series=0)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"plan\.json ends early"):
        list(read_refs(path))
