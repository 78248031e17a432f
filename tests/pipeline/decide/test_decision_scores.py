import numpy as np
import pytest
import torch

from models.bundle import SETTINGS, write_bundle
from models.errors import BundleError
from pipeline.decide import decision_scores as module
from pipeline.decide.decision_scores import TENSORS, decision_scores, read_decision_scores
from pipeline.errors import PolicyError

PATIENTS = ["MILLER", "SMITH", "MILLER", "JONES"]
PROBABILITY = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
TRUTH = np.array([[1, 0], [0, 1], [1, 0], [0, 0]])


def four(**more):
    return decision_scores([0.1, 0.8, 0.4, 0.5], [0, 1, 0, -1], PATIENTS, seed=3, **more)


def stored(folder, state):
    return write_bundle(folder / "b", {SETTINGS: ""}, {"models/model.pt": {}, TENSORS: state})


def test_rows_stay_together_and_patients_become_numbers():
    scores = four(probability=PROBABILITY, truth=TRUTH)
    assert scores.score.tolist() != [0.1, 0.8, 0.4, 0.5]
    for n, score in enumerate(scores.score):
        row = [0.1, 0.8, 0.4, 0.5].index(score)
        assert scores.side[n] == [0, 1, 0, -1][row]
        assert scores.probability[n].tolist() == PROBABILITY[row].tolist()
        assert scores.truth[n].tolist() == TRUTH[row].tolist()
    assert sorted(np.bincount(scores.patient)) == [1, 1, 2]
    values, patients = scores.of(0)
    assert sorted(values) == [0.1, 0.4]
    assert patients[0] == patients[1]


def test_what_was_written_is_read(tmp_path):
    scores = four(probability=PROBABILITY, truth=TRUTH)
    read = read_decision_scores(stored(tmp_path, scores.tensors()), labels=2, one_class=False)
    for name in ("score", "side", "patient", "probability", "truth"):
        assert np.array_equal(getattr(read, name), getattr(scores, name))
    assert b"MILLER" not in (tmp_path / "b" / TENSORS).read_bytes()


def test_raw_scores_are_read_where_they_are_raw(tmp_path):
    bundle = stored(tmp_path, decision_scores([-4.0, 80.0], [0, 0], ["a", "b"], seed=0).tensors())
    assert sorted(read_decision_scores(bundle, labels=2, one_class=True).score) == [-4, 80]
    with pytest.raises(BundleError, match="makes no sense"):
        read_decision_scores(bundle, labels=2, one_class=False)


@pytest.mark.parametrize(
    "change",
    [
        {"score": torch.tensor([0.1, float("nan"), 0.4, 0.5], dtype=torch.float64)},
        {"score": torch.tensor([0.1, 1.5, 0.4, 0.5], dtype=torch.float64)},
        {"score": torch.tensor([0.1, 0.8, 0.4, 0.5])},
        {"score": torch.zeros(3, dtype=torch.float64)},
        {"score": torch.zeros(0, dtype=torch.float64)},
        {"score": torch.zeros(2, 2, dtype=torch.float64)},
        {"score": [0.1, 0.8, 0.4, 0.5]},
        {"side": torch.tensor([0, 1, 2, -1], dtype=torch.int8)},
        {"patient": torch.tensor([0, 1, -1, 2])},
        {"patient": torch.tensor([0, 1, 4, 2])},
        {"probability": torch.zeros(4, 3, dtype=torch.float64)},
        {"truth": torch.full((4, 2), 2, dtype=torch.int8)},
        {"more": torch.zeros(4)},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, change):
    state = four(probability=PROBABILITY, truth=TRUTH).tensors() | change
    with pytest.raises(BundleError, match="makes no sense"):
        read_decision_scores(stored(tmp_path, state), labels=2, one_class=False)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(BundleError, match="more than 100 bytes"):
        read_decision_scores(stored(tmp_path, four().tensors()), labels=2, one_class=False)


def test_a_bundle_from_before_says_what_to_do(tmp_path):
    bundle = write_bundle(tmp_path / "b", {SETTINGS: ""}, {"models/model.pt": {}})
    with pytest.raises(PolicyError, match="adapt again"):
        read_decision_scores(bundle, labels=2, one_class=False)


def test_of_very_many_scans_some_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    scores = four()
    assert scores.score.size == 3
    assert scores.patient.max() < 3


@pytest.mark.parametrize("score", [[0.1, np.nan, 0.4, 0.5], np.float32([0.1, np.inf, 0.4, 0.5]), [0.1]])
def test_scores_that_cannot_be_kept_are_refused(score):
    with pytest.raises(PolicyError, match="held-out scores"):
        decision_scores(score, [0, 1, 0, -1], PATIENTS, seed=0)
