import numpy as np
import pytest
import torch

from pipeline.shortcuts.probe import METHOD, ProbedScans, probe_column, probe_labels, share_probe
from pipeline.shortcuts.wording import column_verdict, found_sentences


def scans(*, site=0.0, disease=0.0, n=160, share=(0.5, 0.5), seed=0, per_patient=1, identity=0.0):
    """Features that know site and disease as much as asked; `share` is how many are ill at each site."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // per_patient
    where = patient % 2
    ill = np.array([rng.random() < share[patient_site] for patient_site in patient % 2])[patient]
    features = rng.normal(size=(n, 12))
    features[:, 0] += site * where
    features[:, 1] += disease * ill
    features[:, 2:] += identity * rng.normal(size=(patient.max() + 1, 10))[patient]
    probed = ProbedScans(
        torch.from_numpy(features).float(),
        (12,),
        torch.from_numpy(np.stack([~ill, ill], axis=1)).float(),
        ~ill,
        tuple(f"p{number}" for number in patient),
        seed=0,
    )
    return probed, [("north", "south")[number] for number in where]


def judged(probed, values):
    found, labels = probe_column(probed, values), probe_labels(probed)
    return found, labels, *column_verdict("site", found, labels)


def test_features_that_know_the_site_better_than_the_disease_are_found():
    found, labels, claimed, sentence = judged(*scans(site=6, disease=0.5, share=(0.3, 0.7), n=400))
    assert found["normals"]["low"] > 0.85
    assert found["normals"]["low"] > labels["high"]
    assert found["label"]["low"] > 0.6
    assert claimed
    assert "among normal scans" in sentence
    assert "better than they tell the labels" in sentence
    assert "the model can be right by knowing site" in sentence
    assert found["values"] == 2
    assert labels["method"] == METHOD


def test_a_site_that_says_nothing_of_the_label_is_seen_but_not_accused():
    found, _, claimed, sentence = judged(*scans(site=6, disease=2))
    assert found["normals"]["low"] > 0.9
    assert found["label"]["low"] <= 0.5
    assert not claimed
    assert "so knowing it does not help here" in sentence


def test_another_mix_of_diseases_alone_is_no_knowledge_of_the_site():
    """Features know the disease, which is common at one site and rare at the other: normal scans look alike."""
    found, labels, claimed, sentence = judged(*scans(disease=6, share=(0.1, 0.9), n=240))
    assert found["all"]["low"] > 0.7
    assert found["normals"]["low"] < 0.5
    assert labels["low"] > 0.9
    assert not claimed
    assert "not shown to tell site among normal scans" in sentence


def test_features_that_know_nothing_are_not_accused():
    for seed in range(3):
        found, _, claimed, _ = judged(*scans(seed=seed, share=(0.2, 0.8)))
        assert not claimed
        assert found["normals"]["low"] <= 0.5


def test_knowing_the_patient_is_not_knowing_the_site():
    """Scans of a patient are alike; were they on both sides of a fold, the site would be told."""
    found, _, claimed, _ = judged(*scans(identity=8, per_patient=4, n=160))
    assert found["all"]["low"] <= 0.5
    assert not claimed


def test_the_label_by_site_alone_is_that_of_the_shares():
    """3/4 ill here, 1/4 there: AUROC = 9/16 + (3/16 + 3/16) / 2 = 3/4."""
    probed, values = scans(n=400)
    ill = np.array([n // 2 % 4 < (1 if value == "north" else 3) for n, value in enumerate(values)])
    targets = torch.from_numpy(np.stack([~ill, ill], axis=1)).float()
    found = probe_column(ProbedScans(probed.features, (12,), targets, ~ill, probed.patients, seed=0), values)
    assert found["label"]["value"] == pytest.approx(0.75, abs=0.01)
    assert found["label"]["low"] < 0.75 < found["label"]["high"]


def test_a_site_for_each_label_tells_it_exactly_with_an_exact_interval():
    probed, values = scans(site=1, share=(0.0, 1.0), n=40)
    found = probe_column(probed, values)
    assert found["label"]["value"] == 1
    assert found["label"]["low"] == pytest.approx(0.025 ** (1 / 20), abs=1e-6)
    assert found["label"]["method"] == "exact"
    assert found["normals"]["value"] is None
    claimed, sentence = column_verdict("site", found, probe_labels(probed))
    assert not claimed
    assert "could not be probed on normal scans: cross-validation needs" in sentence


def test_shares_by_group():
    """Group 0: labels 0, 0, 1; group 1: label 1; group 2: none. p = (1/2, 1/2)."""
    groups = np.eye(3, dtype=np.float32)
    found = share_probe(groups[[0, 0, 0, 1]], np.array([0, 0, 1, 1]), groups)
    assert found == pytest.approx(np.array([[2.5 / 4, 1.5 / 4], [0.5 / 2, 1.5 / 2], [0.5, 0.5]]))


def test_values_that_stand_for_nobody_are_left_out():
    probed, values = scans(site=6)
    few = ["(other)" if value == "south" else value for value in values]
    found = probe_column(probed, few)
    assert found["values"] == 1
    assert found["all"]["reason"] == "fewer than two values with two patients each"
    mixed = ["(empty)" if n % 8 < 2 else value for n, value in enumerate(values)]
    assert probe_column(probed, mixed)["values"] == 2


def test_only_what_was_found_is_told():
    told = {"columns": {"a": {"found": True, "verdict": "A."}, "b": {"found": False, "verdict": "B."}}}
    assert found_sentences(told | {"border": {"found": True, "verdict": "C."}}) == ["A.", "C."]
    assert found_sentences(None) == []
