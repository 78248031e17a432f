import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import WeightsNotFoundError
from models.families import ARCHITECTURES
from models.source_head import SourceNetwork, source_head
from models.transferability import TRANSFERABILITY
from models.weights import load_weights
from pipeline.config import Config
from pipeline.errors import CohortError, ConfigError
from pipeline.learn.backbone_candidates import available_backbones
from pipeline.learn.backbone_choice import choose_backbone, rank_backbones, repeats_for
from pipeline.learn.fit import LabelledSet
from pipeline.learn.folds import grouped_folds
from pipeline.prepare.samples import to_tensor
from pipeline.watch import Watch
from tests.pipeline.learn.conftest import make_side, make_store
from tests.pipeline.learn.weights_folder import WeightsFolder, blind

CPU = torch.device("cpu")
SIGHTED, MAPPED, BLIND = "shufflenet_v2_x0_5", "squeezenet1_1", "squeezenet1_0"
CONFIG = Config(backbone="auto", precision="float32")
PATIENTS = [f"patient {n // 2}" for n in range(24)]
LABELS = [n // 2 % 2 for n in range(24)]


@pytest.fixture(autouse=True)
def _no_hub_and_one_repeat(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("pipeline.learn.backbone_choice.repeats_for", lambda _rows: 1)


@pytest.fixture
def weights(tmp_path):
    """Three networks: one with a head on features, one with a head on the map, one blind and without a head."""
    folder = WeightsFolder(tmp_path / "weights")
    folder.add(SIGHTED)
    folder.add(MAPPED)
    folder.add(BLIND, drop=("classifier.",), change=blind)
    return folder


@pytest.fixture
def train(tmp_path):
    return make_side(make_store(tmp_path / "cache"), "train", LABELS, 2)


@pytest.fixture
def forwards(monkeypatch):
    """Counts the slices that any network sees."""
    seen = []
    real = SliceBagClassifier.features
    monkeypatch.setattr(SliceBagClassifier, "features", lambda self, x: seen.append(len(x)) or real(self, x))
    return seen


def choice(train, weights, patients=PATIENTS, *, config=CONFIG, watch=None):
    folder = weights.folder if weights else None
    return choose_backbone(train, patients, config=config, device=CPU, watch=watch or Watch(), folder=folder)


def loaded(name, folder):
    candidate = next(one for one in available_backbones(folder) if one.backbone == name)
    backbone = build_backbone(name)
    load_weights(backbone, candidate.file)
    return backbone.eval(), candidate.file


def by_hand(network, train):
    """The mean over each bag's slices of what a network says, one slice at a time."""
    classifier = SliceBagClassifier(network, 1, pooling="mean").eval()
    with torch.inference_mode():
        return torch.stack([classifier.features(to_tensor(train.store.load(c))).mean(dim=0) for c in train.contents])


def test_the_network_that_sees_is_chosen_before_the_blind_one(train, weights):
    found = choice(train, weights)
    rows = {row.backbone: row for row in found.rows}
    assert {found.first.backbone, found.second.backbone} == {SIGHTED, MAPPED}
    assert rows[BLIND].auroc == 0.5
    assert found.rows[-1].backbone == BLIND
    assert rows[SIGHTED].auroc > 0.8
    assert found.to_json()["first"] == found.first.backbone


def test_scores_are_those_of_features_and_probabilities_worked_out_apart(train, weights):
    rows = {row.backbone: row for row in choice(train, weights).rows}
    for name in (SIGHTED, MAPPED):
        backbone, file = loaded(name, weights.folder)
        features = by_hand(backbone, train)
        head, _ = source_head(backbone, file)
        source = by_hand(SourceNetwork(backbone, head), train)
        row = rows[name]
        assert row.logme == pytest.approx(TRANSFERABILITY["logme"].function(features, train.targets), rel=1e-3)
        expected = TRANSFERABILITY["h_score_regularised"].function(features, train.targets)
        assert row.h_score == pytest.approx(expected, rel=1e-3)
        assert row.leep == pytest.approx(TRANSFERABILITY["leep"].function(source, train.targets), rel=1e-3)
        assert row.scores_reason == ""
    assert rows[BLIND].leep is None
    assert rows[BLIND].scores_reason == "no LEEP: the weights file holds no classifier"


def test_bags_of_slices_are_averaged(tmp_path, weights):
    train = make_side(make_store(tmp_path / "cache", slices=3), "train", LABELS[:12], 2)
    folds = grouped_folds(train.targets, PATIENTS[:12])
    given = []

    def probe(rows, _labels, test):
        given.append(np.concatenate([rows, test]))
        return np.stack([-test[:, 0], test[:, 0]], axis=1)

    candidates = [one for one in available_backbones(weights.folder) if one.backbone == SIGHTED]
    (row,) = rank_backbones(candidates, train, folds, config=CONFIG, device=CPU, watch=Watch(), probe=probe)
    backbone, file = loaded(SIGHTED, weights.folder)
    expected = by_hand(backbone, train)
    order = np.concatenate([folds[0].train, folds[0].test])
    np.testing.assert_allclose(given[0], expected.numpy()[order], rtol=1e-3, atol=1e-6)
    head, _ = source_head(backbone, file)
    source = by_hand(SourceNetwork(backbone, head), train)
    assert row.leep == pytest.approx(TRANSFERABILITY["leep"].function(source, train.targets), rel=1e-3)


def test_all_networks_are_probed_on_the_same_folds_and_no_patient_on_two_sides(train, weights):
    folds = grouped_folds(train.targets, PATIENTS, repeats=2)
    calls = []

    def probe(rows, labels, test):
        calls.append((len(rows), len(test), labels.tolist()))
        return np.stack([-test[:, 0], test[:, 0]], axis=1)

    candidates = available_backbones(weights.folder)
    rank_backbones(candidates, train, folds, config=CONFIG, device=CPU, watch=Watch(), probe=probe)
    assert len(calls) == 30
    assert calls[:10] == calls[10:20] == calls[20:]
    assert calls[:10] == [(len(f.train), len(f.test), np.array(LABELS)[f.train].tolist()) for f in folds]
    for fold in folds:
        assert not {PATIENTS[n] for n in fold.train} & {PATIENTS[n] for n in fold.test}


def test_the_probe_that_is_given_decides(train, weights):
    folds = grouped_folds(train.targets, PATIENTS)
    backbone, _ = loaded(SIGHTED, weights.folder)
    features = by_hand(backbone, train).numpy()

    def probe(_rows, _labels, test):
        return np.stack([-test[:, 3], test[:, 3]], axis=1)

    candidates = [one for one in available_backbones(weights.folder) if one.backbone == SIGHTED]
    (row,) = rank_backbones(candidates, train, folds, config=CONFIG, device=CPU, watch=Watch(), probe=probe)
    expected = [roc_auc_score(np.array(LABELS)[fold.test], features[fold.test, 3]) for fold in folds]
    assert row.auroc == pytest.approx(np.mean(expected))


def test_one_seed_gives_one_result_and_another_seed_other_folds(train, weights):
    noise = LabelledSet(train.store, train.contents, train.targets.roll(1, dims=0))

    def told(seed):
        found = choice(noise, weights, PATIENTS[-1:] + PATIENTS[:-1], config=CONFIG.model_copy(update={"seed": seed}))
        return [(row.backbone, row.folds, row.logme, row.h_score, row.leep) for row in found.rows]

    one = told(0)
    assert repr(told(0)) == repr(one)
    assert repr(told(1)) != repr(one)


def test_the_second_run_computes_no_features(train, weights, forwards):
    choice(train, weights)
    assert sum(forwards) == 4 * 24  # three networks, and the one with a head on its map a second time
    forwards.clear()
    choice(train, weights)
    assert forwards == []


def test_memory_is_taken_chunk_by_chunk_and_nothing_is_lost(train, weights, monkeypatch):
    whole = choice(train, weights)
    monkeypatch.setattr("pipeline.learn.backbone_measure.CHUNK", 5)
    parts = choice(train, weights)
    assert [row.folds for row in parts.rows] == [row.folds for row in whole.rows]
    assert [row.logme for row in parts.rows] == [row.logme for row in whole.rows]
    assert [row.leep for row in parts.rows] == pytest.approx([row.leep for row in whole.rows])


def test_what_cannot_be_measured_has_a_line_and_stops_nothing(train, weights, monkeypatch):
    weights.entries[1]["sha256"] = "0" * 64
    weights.write()
    monkeypatch.setitem(ARCHITECTURES, BLIND, replace(ARCHITECTURES[BLIND], min_size=75))
    weights.add("mobilenet_v3_small").unlink()
    notes = []
    found = choice(train, weights, watch=Watch(note=notes.append))
    assert found.first.backbone == SIGHTED
    assert found.second is None
    reasons = {row.backbone: row.reason for row in found.rows if not row.measured}
    assert "SHA-256 begins" in reasons[MAPPED]
    assert reasons[BLIND] == "image_size 64: it needs at least 75"
    assert reasons["mobilenet_v3_small"] == "named by weights.json, but the file is not there"
    assert sum("not measured" in note for note in notes) == 3
    assert not any("\n" in note or "patient" in note for note in notes)


def test_weights_altered_between_listing_and_loading_are_told(train, weights):
    candidates = available_backbones(weights.folder)
    (weights.folder / f"{SIGHTED}-file.pth").write_bytes(b"something else")
    folds = grouped_folds(train.targets, PATIENTS)
    rows = rank_backbones(candidates, train, folds, config=CONFIG, device=CPU, watch=Watch())
    assert {row.backbone for row in rows if row.measured} == {MAPPED, BLIND}


def test_features_that_are_no_numbers_are_told(train, weights):
    def poison(state):
        state["conv5.1.weight"] = torch.full_like(state["conv5.1.weight"], math.nan)

    weights.entries.clear()
    weights.add(SIGHTED, change=poison)
    with pytest.raises(WeightsNotFoundError, match="its features are not all finite numbers"):
        choice(train, weights)


def test_partial_weights_are_measured_as_far_as_they_go(train, weights):
    weights.entries.clear()
    weights.add(SIGHTED, drop=("stage4.", "conv5.", "fc."))
    found = choice(train, weights)
    assert found.first.backbone == f"{SIGHTED}@stage3"
    assert found.first.scores_reason == "no LEEP: the network is cut after stage3"


def test_joined_stages_on_request(train, weights):
    found = choice(train, weights, config=CONFIG.model_copy(update={"backbone": "auto@all"}))
    assert found.first.backbone.endswith("@all")
    rows = {row.backbone: row for row in found.rows}
    assert rows[f"{SIGHTED}@all"].num_features == build_backbone(f"{SIGHTED}@all").num_features
    plain = {row.backbone: row for row in choice(train, weights).rows}
    assert rows[f"{SIGHTED}@all"].leep == pytest.approx(plain[SIGHTED].leep, rel=1e-4)


def test_several_labels_a_scan(tmp_path, weights):
    store = make_store(tmp_path / "cache")
    train = make_side(store, "train", LABELS, 2)
    several = torch.cat([train.targets, train.targets[:, 1:]], dim=1)
    found = choice(LabelledSet(store, train.contents, several), weights)
    assert found.first.backbone in (SIGHTED, MAPPED)
    assert found.first.auroc > 0.8
    assert math.isfinite(found.first.logme)


def test_one_class_is_an_error(tmp_path, weights):
    train = make_side(make_store(tmp_path / "cache"), "train", [1] * 8, 2)
    with pytest.raises(CohortError, match="two labels with at least two patients each"):
        choice(train, weights, PATIENTS[:8])


@pytest.mark.parametrize("given", ["none", "net.pth", "IMAGENET1K_V1"])
def test_weights_that_fit_one_network_only_are_an_error(train, weights, given):
    with pytest.raises(ConfigError, match=f"weights {given}: backbone auto compares imagenet weights"):
        choice(train, weights, config=CONFIG.model_copy(update={"weights": given}))


def test_a_machine_without_weights_is_told(train):
    with pytest.raises(WeightsNotFoundError, match="none has weights on this machine"):
        choice(train, None)


def test_the_global_generator_is_left_as_it_was(train, weights):
    before = torch.get_rng_state()
    choice(train, weights)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("rows", "repeats"), [(20, 10), (200, 10), (500, 4), (5000, 2)])
def test_small_sets_are_divided_more_often(rows, repeats):
    assert repeats_for(rows) == repeats
