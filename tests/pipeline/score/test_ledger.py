import json
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
    allowed = {
        "run",
        "chunk",
        "of",
        "content",
        "status",
        "reason",
        "probability",
        "anomaly_score",
        "decision",
        "engine",
    }
    assert {key for line in text.splitlines() for key in json.loads(line)} == allowed | {"decision"}
