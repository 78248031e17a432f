"""`scanshift models set-policy`, run as a user runs it, in this process."""

import json

import numpy as np
import pytest

from models.bundle import SUMS, open_bundle, write_bundle
from pipeline.decide.decision_scores import TENSORS, decision_scores


@pytest.fixture(scope="module")
def bundle(radiograph_bundle, tmp_path_factory):
    """The untrained bundle with scores of 40 normal scans."""
    made = open_bundle(radiograph_bundle)
    scores = decision_scores(np.linspace(0.1, 0.6, 40), [0] * 40, [str(n) for n in range(40)], seed=0)
    names = [line[66:] for line in made.text(SUMS).splitlines()]
    copies = {name: made.folder / name for name in names}
    return write_bundle(tmp_path_factory.mktemp("parent") / "parent", {}, {TENSORS: scores.tensors()}, copies).folder


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_result_as_json(command, bundle, tmp_path, place):
    words = ["set-policy", bundle, tmp_path / "new", "--policy", "false_alarm=0.05"]
    told = command("models", *(["--json", *words] if place == "before" else [*words, "--json"]))
    assert told.code == 0
    assert told.record["digest"] == open_bundle(tmp_path / "new").digest
    assert told.record["parent"] == open_bundle(bundle).digest
    assert told.record["policy"]["rule"] == "false_alarm=0.05"
    assert told.record["anomaly_threshold"]["before"] == 0.5
    json.dumps(told.record)


def test_the_text_says_what_is_achieved(command, bundle, tmp_path):
    told = command("models", "set-policy", bundle, tmp_path / "new", "--policy", "false_alarm=0.05")
    assert told.out.startswith(
        "policy false_alarm=0.05: at most 0.05 of normal scans are called abnormal; chosen on 40"
    )
    assert "share of normal scans called abnormal, each patient counted once: 0.0250 (95 % interval" in told.out
    assert told.out.splitlines()[-1].startswith(f"bundle: {tmp_path / 'new'}")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("false_alarm=5", 2, "expected a share"),
        ("nonsense", 2, "expected false_alarm=0.05"),
        ("sensitivity=0.9", 1, "at least 10 patients"),
        ("false_alarm=0.01", 1, "bring 59 more"),
    ],
)
def test_what_cannot_be_done_is_one_line(command, bundle, tmp_path, text, code, words):
    told = command("models", "set-policy", bundle, tmp_path / "new", "--policy", text)
    assert (told.code, told.out) == (code, "")
    assert words in told.error
    assert told.error.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("arguments", [[], ["set-policy"], ["set-policy", "a", "b"], ["nonsense"]])
def test_wrong_use_is_exit_2(command, arguments):
    assert command("models", *arguments).code == 2
