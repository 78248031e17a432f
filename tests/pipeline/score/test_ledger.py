import errno
import json
import os
import stat

import pytest

from pipeline.score.folder import score_folder
from pipeline.score.ledger import Ledger
from pipeline.score.outcome import Outcome

SCORED = Outcome("scored", probability=(0.25, 0.75), anomaly_score=0.75, decision="anomaly")
REFUSED = Outcome("refused", "NO_CONTRAST: constant")
FAILED = Outcome("failed", "UNREADABLE: Input/output error")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "state" / "ledger.jsonl")


def test_no_file_means_nothing_is_done(ledger):
    assert ledger.done("k") == {}


def test_what_was_appended_is_done(ledger):
    ledger.append("k", "c1", {"aa": SCORED, "bb": REFUSED})
    ledger.append("k", "c2", {"cc": SCORED})
    assert ledger.done("k") == {"aa": SCORED, "bb": REFUSED, "cc": SCORED}


def test_probabilities_survive_to_the_last_bit(ledger):
    outcome = Outcome("scored", probability=(0.1 + 0.2, 1 / 3), anomaly_score=1 / 3, decision="normal")
    ledger.append("k", "c", {"aa": outcome})
    assert ledger.done("k")["aa"] == outcome


def test_other_run_keys_are_apart(ledger):
    ledger.append("k1", "c", {"aa": SCORED})
    ledger.append("k2", "c", {"aa": REFUSED, "bb": REFUSED})
    assert ledger.done("k1") == {"aa": SCORED}
    assert ledger.done("k2") == {"aa": REFUSED, "bb": REFUSED}


@pytest.mark.parametrize("bytes_lost", [1, 2, 40])
def test_torn_last_line_takes_its_chunk_with_it(ledger, bytes_lost):
    ledger.append("k", "c1", {"aa": SCORED})
    ledger.append("k", "c2", {"bb": SCORED, "cc": SCORED})
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-bytes_lost])
    done = ledger.done("k")
    # Only the newline lost: the line itself is whole, and so is its chunk.
    assert set(done) == ({"aa", "bb", "cc"} if bytes_lost == 1 else {"aa"})


@pytest.mark.parametrize("bytes_lost", [1, 2, 40])
def test_a_chunk_written_again_after_a_torn_line_counts(ledger, bytes_lost):
    ledger.append("k", "c2", {"bb": SCORED, "cc": SCORED})
    ledger.path.write_bytes(ledger.path.read_bytes()[:-bytes_lost])
    ledger.append("k", "c2", {"bb": SCORED, "cc": SCORED})
    ledger.append("k", "c3", {"dd": REFUSED})
    assert ledger.done("k") == {"bb": SCORED, "cc": SCORED, "dd": REFUSED}


def test_torn_multibyte_character_is_skipped(ledger):
    ledger.append("k", "c1", {"aa": SCORED})
    with ledger.path.open("ab") as file:
        file.write('{"run": "k", "chunk": "ü'.encode()[:-1])
    assert ledger.done("k") == {"aa": SCORED}


def test_incomplete_chunk_does_not_count(ledger):
    ledger.append("k", "c", {"aa": SCORED, "bb": SCORED, "cc": SCORED})
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text("".join(lines[:2]))
    assert ledger.done("k") == {}


def test_failed_is_not_done_but_its_chunk_is(ledger):
    ledger.append("k", "c", {"aa": SCORED, "bb": FAILED})
    assert ledger.done("k") == {"aa": SCORED}


def test_a_failed_series_that_goes_well_later_is_done(ledger):
    ledger.append("k", "c", {"aa": SCORED, "bb": FAILED})
    ledger.append("k", "c again", {"bb": SCORED})
    assert ledger.done("k") == {"aa": SCORED, "bb": SCORED}


@pytest.mark.parametrize("line", ["[]", "null", "7", '{"run": "k"}', "\0\0\0"])
def test_lines_of_something_else_are_skipped(ledger, line):
    ledger.append("k", "c", {"aa": SCORED})
    with ledger.path.open("a") as file:
        file.write(line + "\n")
    assert ledger.done("k") == {"aa": SCORED}


@pytest.mark.parametrize(
    "change",
    [
        {"chunk": []},
        {"content": {}},
        {"of": "two"},
        {"of": 0},
        {"of": True},
        {"status": "perfect"},
        {"status": ["scored"]},
        {"reason": None},
        {"probability": None},
        {"probability": [0.5, "x"]},
        {"probability": [float("nan"), 0.5]},
        {"probability": []},
        {"anomaly_score": None},
        {"decision": "call a friend"},
        {"more": 1},
    ],
    ids=str,
)
def test_lines_without_checksum_count_only_where_every_value_can_be(ledger, change):
    ledger.append("k", "c", {"aa": SCORED})
    record = json.loads(ledger.path.read_text())
    del record["crc"]
    ledger.path.write_text(json.dumps(record) + "\n")
    assert ledger.done("k") == {"aa": SCORED}
    ledger.path.write_text(json.dumps(record | change) + "\n")
    assert ledger.results("k") == {}


def test_a_digit_that_rotted_is_found(ledger):
    ledger.append("k", "c", {"aa": SCORED})
    text = ledger.path.read_text()
    ledger.path.write_text(text.replace("0.25", "0.35"))
    assert ledger.done("k") == {}


def test_every_byte_is_guarded(ledger):
    ledger.append("k", "c", {"aa": SCORED})
    whole = ledger.path.read_bytes()
    for at in range(len(whole) - 1):
        ledger.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert ledger.done("k") == {}, whole[at:]


@pytest.mark.parametrize("end", [b"\0" * 5000, b"\0" * 5000 + b"\n"])
def test_zeros_after_a_power_cut_cost_no_more_than_their_chunk(ledger, end):
    ledger.append("k", "c1", {"aa": SCORED})
    ledger.path.write_bytes(ledger.path.read_bytes() + end)
    ledger.append("k", "c2", {"bb": SCORED})
    assert set(ledger.done("k")) == {"aa", "bb"}


def test_a_chunk_that_stands_twice_counts_once(ledger):
    for _ in range(2):
        ledger.append("k", "c", {"aa": SCORED, "bb": REFUSED})
    assert ledger.done("k") == {"aa": SCORED, "bb": REFUSED}


def test_the_last_result_counts_but_a_score_stays(ledger):
    ledger.append("k", "c1", {"aa": REFUSED, "bb": REFUSED, "cc": SCORED})
    ledger.append("k", "c2", {"aa": SCORED, "bb": FAILED, "cc": FAILED})
    assert ledger.results("k") == {"aa": SCORED, "bb": FAILED, "cc": SCORED}
    assert ledger.done("k") == {"aa": SCORED, "cc": SCORED}


def test_since_leaves_out_what_stood_before(ledger):
    assert ledger.size == 0
    ledger.append("k", "c1", {"aa": SCORED})
    since = {"": ledger.size}
    assert ledger.results("k", since) == {}
    ledger.append("k", "c2", {"bb": SCORED})
    assert set(ledger.results("k", since)) == {"bb"}
    ledger.path.write_bytes(ledger.path.read_bytes()[:-9])
    ledger.append("k", "c3", {"cc": SCORED})
    assert set(ledger.results("k", since)) == {"cc"}


def test_engine_is_the_last_of_its_run_wherever_it_stands(ledger, monkeypatch):
    monkeypatch.setattr("pipeline.score.ledger.TAIL_BYTES", 500)
    assert ledger.engine("k") == ""
    ledger.append("k", "c1", {"aa": SCORED}, "openvino")
    ledger.append("k", "c2", {"bb": SCORED}, "eager:8")
    assert ledger.engine("k") == "eager:8"
    for n in range(20):
        ledger.append("other", f"d{n}", {f"a{n}": SCORED}, "amp")
    assert (ledger.engine("k"), ledger.engine("other"), ledger.engine("none")) == ("eager:8", "amp", "")


@pytest.mark.parametrize("room", [0, 1, 300])
def test_a_full_disk_names_the_ledger_and_loses_only_the_chunk(ledger, monkeypatch, room):
    ledger.append("k", "c1", {"aa": SCORED})
    real, left = os.write, [room]

    def full(descriptor, content):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, left[0] = left[0], 0
        return real(descriptor, bytes(content)[:taken])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as told:
            ledger.append("k", "c2", {"bb": SCORED, "cc": SCORED})
    assert told.value.filename == str(ledger.path)
    assert ledger.done("k") == {"aa": SCORED}
    ledger.append("k", "c2", {"bb": SCORED, "cc": SCORED})
    assert set(ledger.done("k")) == {"aa", "bb", "cc"}


def test_only_its_owner_may_read_it(ledger):
    ledger.append("k", "c", {"aa": SCORED})
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_it_holds_no_path_and_no_identity(incoming, radiograph_bundle, tmp_path):
    marked = incoming / "Mueller_Hans"
    (incoming / "north ward 3").rename(marked)
    (marked / "Mueller_Hans.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"Mueller_Hans" * 20)
    out = tmp_path / "out"
    score_folder(incoming, radiograph_bundle, out)
    rows = (out / "scores.csv").read_text().splitlines()
    text = (out / ".scanshift" / "ledger.jsonl").read_text()
    uids = {row.split(",")[1] for row in rows[1:]} - {""}
    assert len(uids) >= 24
    assert not [word for word in {"Mueller", "incoming", ".dcm", *uids} if word in text]
    allowed = {"run", "chunk", "of", "engine", "content", "status", "reason", "probability", "anomaly_score"}
    allowed |= {"decision", "crc"}
    assert {key for line in text.splitlines() for key in json.loads(line)} == allowed


def test_what_failed_gives_way_whichever_part_is_read_first(ledger):
    Ledger(ledger.path, "zz").append("k", "c1", {"aa": FAILED, "bb": FAILED})  # read last, written first
    ledger.append("k", "c2", {"aa": REFUSED, "bb": SCORED})
    assert ledger.results("k") == ledger.done("k") == {"aa": REFUSED, "bb": SCORED}
    Ledger(ledger.path, "zz").append("k", "c3", {"aa": FAILED, "bb": REFUSED})
    assert ledger.results("k") == {"aa": REFUSED, "bb": SCORED}
