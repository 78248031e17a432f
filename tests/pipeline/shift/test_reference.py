import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.bundle import open_bundle, write_bundle
from models.errors import BundleError
from pipeline.errors import SourceError
from pipeline.ingest.scan_folder import scan_sources
from pipeline.model_record import load_classifier, read_record
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.shift.domain import Domain
from pipeline.shift.reference import fit_basis, reference_statistics
from pipeline.shift.stored_reference import HEADERS, TENSORS, read_reference
from pipeline.shift.two_sample import feature_test

ROWS = ("features", "logits", "truth", "patients")


@pytest.fixture(scope="module")
def made(radiograph_bundle, samples, tmp_path_factory):
    """Statistics of the north's radiographs under an untrained bundle, and what they were made of."""
    bundle = open_bundle(radiograph_bundle)
    record = read_record(bundle)
    store = SampleStore(tmp_path_factory.mktemp("cache"), record.preparation)
    refs = [ref for ref in scan_sources([samples / "radiographs" / "north"]) if ref.status == "ok"]
    store.fill(refs)
    cases = [Case(ref, (record.classes[n % 2],), ref.patient, True, "val", (), n) for n, ref in enumerate(refs)]
    classifier = load_classifier(bundle, record)

    def make(seed=0):
        return reference_statistics(
            classifier, store, cases[:30], cases[30:], record=record, device=torch.device("cpu"), seed=seed
        )

    return bundle, record, cases, store, classifier, make, make()


@pytest.fixture
def with_reference(made, tmp_path):
    """Writes a bundle with reference statistics, changed as a test says."""
    bundle, (first_texts, first_states) = made[0], made[6]

    def write(change=lambda texts, states: None):
        texts, states = dict(first_texts), {TENSORS: dict(first_states[TENSORS])}
        change(texts, states[TENSORS])
        names = ["configs/scanshift.yaml", "configs/training_set.json"]
        folder = tmp_path / "bundle"
        return write_bundle(
            folder,
            {**{name: bundle.text(name) for name in names}, **texts},
            {"models/model.pt": bundle.tensors(), **states},
        )

    return write


def test_what_is_read_is_what_was_measured(made, with_reference):
    _, record, cases, store, classifier, *_ = made
    stored = read_reference(with_reference(), record)
    with torch.inference_mode():
        slices = torch.cat([torch.from_numpy(store.load(case.ref.key).astype(np.float32)) / 65535 for case in cases])
        features = classifier.norm(classifier.features(slices)).numpy().astype(np.float64)
    mean = features[30:].mean(axis=0)
    directions = np.linalg.svd(features[30:] - mean, full_matrices=False)[2][: len(stored.basis)]
    expected = (features[:30] - mean) @ directions.T

    # rows are shuffled and a direction's sign is free: compare distances between scans, sorted
    def spread(rows):
        return np.sort(((rows[:, None] - rows[None]) ** 2).sum(axis=2).ravel())

    np.testing.assert_allclose(spread(stored.scans.features.astype(float)), spread(expected), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(stored.basis @ stored.basis.T, np.eye(len(stored.basis)), atol=1e-5)
    projected = stored.project(features[:30].astype(np.float32))
    np.testing.assert_allclose(spread(projected.astype(float)), spread(expected), rtol=1e-3, atol=1e-2)


def test_rows_stay_together(made, with_reference):
    """Logits, truth and patient of a row belong to one scan, although the order is another one."""
    _, record, cases, store, classifier, *_ = made
    stored = read_reference(with_reference(), record)
    slices = torch.cat([torch.from_numpy(store.load(case.ref.key).astype(np.float32)) / 65535 for case in cases[:30]])
    with torch.inference_mode():
        logits = classifier.classify(classifier.features(slices)[:, None], torch.ones(30, 1, dtype=torch.bool)).numpy()
    match = [int(np.abs(logits - row).sum(axis=1).argmin()) for row in stored.scans.logits]
    assert sorted(match) == list(range(30))
    assert match != list(range(30))
    for row, n in enumerate(match):
        assert stored.scans.truth[row].tolist() == [n % 2 == 0, n % 2 == 1]
    groups = {}
    for row, n in enumerate(match):
        groups.setdefault(stored.scans.patients[row], set()).add(cases[n].patient)
    assert all(len(who) == 1 for who in groups.values())
    assert len(groups) == len({case.patient for case in cases[:30]})


def test_nothing_in_it_is_an_identity(made):
    cases, (texts, states) = made[2], made[6]
    told = texts[HEADERS] + repr(states)
    for case in cases:
        assert case.patient not in told
        assert case.ref.series_uid not in told
        assert case.ref.content not in told
    assert not re.search(r"\b(19|20)\d{6}\b", texts[HEADERS])


def test_fields_of_one_row_are_not_one_patient(made):
    """Each field has its values in an order of its own."""
    (texts, _), (again, _) = made[6], made[5](seed=1)
    fields, others = json.loads(texts[HEADERS])["fields"], json.loads(again[HEADERS])["fields"]
    varied = [name for name, values in fields.items() if len(set(values)) > 1]
    assert varied
    for name in varied:
        assert sorted(map(str, fields[name])) == sorted(map(str, others[name])) or len(set(fields[name])) > 1
    assert any(fields[name] != others[name] for name in varied)


def test_the_same_seed_gives_the_same_statistics(made):
    (texts, states), (texts2, states2) = made[6], made[5]()
    assert texts == texts2
    assert all(torch.equal(states[TENSORS][name], states2[TENSORS][name]) for name in states[TENSORS])


def test_it_is_small(with_reference):
    folder = with_reference().folder
    assert sum((folder / name).stat().st_size for name in (HEADERS, TENSORS)) < 2**20


def test_logits_of_models_that_had_not_seen_the_scans_take_the_place_of_the_bundles_own(made):
    """They are calibrated as the classifier's are: by logits / T + b."""
    _, record, cases, store, classifier, *_ = made
    record = record.model_copy(update={"temperature": 4.0, "bias": (0.5, -0.5)})
    own = np.arange(60, dtype=np.float32).reshape(30, 2)
    _, states = reference_statistics(
        classifier, store, cases[:30], cases[30:], record=record, device=torch.device("cpu"), seed=0, logits=own
    )
    kept, plain = states[TENSORS], made[6][1][TENSORS]
    assert torch.equal(kept["features"], plain["features"])
    uncalibrated = (kept["logits"] - torch.tensor([0.5, -0.5])) * 4
    assert torch.equal(uncalibrated[:, 1], uncalibrated[:, 0] + 1)
    order = [int(row[0]) // 2 for row in uncalibrated]
    assert sorted(order) == list(range(30))
    assert [cases[n].labels == (record.classes[1],) for n in order] == kept["truth"][:, 1].bool().tolist()


def test_a_reference_without_labels_is_read_as_such(made, with_reference):
    _, record, cases, store, classifier, *_ = made
    blank = [replace(case, labels=()) for case in cases[:30]]
    _, states = reference_statistics(
        classifier, store, blank, cases[30:], record=record, device=torch.device("cpu"), seed=0
    )
    assert "truth" not in states[TENSORS]
    stored = read_reference(with_reference(lambda texts, state: state.pop("truth")), record)
    assert stored.scans.truth is None
    assert stored.scans.logits.shape == (30, 2)


def test_a_bundle_from_before_says_what_to_do(made):
    with pytest.raises(
        SourceError, match="give reference scans as REFERENCE and the bundle by --bundle, or adapt again"
    ):
        read_reference(made[0], made[1])


def _set(name, value):
    return lambda texts, state: state.__setitem__(name, value(state[name]))


def _text(value):
    return lambda texts, state: texts.__setitem__(HEADERS, value)


@pytest.mark.parametrize(
    "change",
    [
        _set("features", lambda t: t[:, :-1]),
        _set("features", lambda t: t * float("nan")),
        _set("features", lambda t: t.double()),
        _set("logits", lambda t: t[:-1]),
        _set("logits", lambda t: torch.cat([t, t], dim=1)),
        _set("truth", lambda t: t + 1),
        _set("truth", lambda t: t.float()),
        _set("patients", lambda t: t[0]),
        _set("basis", lambda t: t[0]),
        _set("mean", lambda t: "text"),
        lambda texts, state: state.pop("mean"),
        lambda texts, state: state.__setitem__("more", torch.zeros(1)),
        lambda texts, state: state.update({name: torch.cat([state[name]] * 20) for name in ROWS}),
        _text("{"),
        _text("[]"),
        _text('{"format": 2, "fields": {}}'),
        _text('{"format": 1, "fields": {"a": [1]}}'),
        _text('{"format": 1, "fields": {"a": ' + json.dumps([{}] * 30) + "}}"),
        _text('{"format": 1, "fields": {"a": [' + ",".join(["NaN"] * 30) + "]}}"),
        _text('{"format": 1, "fields": {"a": [' + ",".join(["1" + "0" * 400] * 30) + "]}}"),
        _text('{"format": 1, "fields": {"a": ' + json.dumps(["x" * 1000] * 30) + "}}"),
        _text('{"format": 1, "fields": {"a": ' + json.dumps([True] * 30) + "}}"),
        _text("[" * 100_000),
        _text('{"format": 1, "fields": {}, "more": "' + "x" * 5_000_000 + '"}'),
    ],
)  # fmt: skip
def test_statistics_that_make_no_sense_are_refused(made, with_reference, change):
    with pytest.raises(BundleError):
        read_reference(with_reference(change), made[1])


def _alarms(same, reps):
    """Share of comparisons of one population in which the features test alarms at 5 %."""

    def domain(rows):
        return Domain(rows.astype(np.float32), None, None, tuple(map(str, range(len(rows)))))

    alarms = 0
    for seed in range(1000, 1000 + reps):
        rng = np.random.default_rng(seed)
        trained, held_out, incoming = (rng.normal(size=(80, 256)) * np.linspace(3, 0.3, 256) for _ in range(3))
        mean, basis = fit_basis((held_out if same else trained).astype(np.float32))
        sides = [domain((rows - mean) @ basis.T) for rows in (held_out, incoming)]
        alarms += feature_test(*sides, seed=seed, permutations=100)[0].p_value < 0.05
    return alarms / reps


def test_a_basis_of_other_scans_keeps_the_false_alarms_low():
    assert _alarms(same=False, reps=60) <= 0.12  # binomial(60, 0.05) exceeds 7 in 1 % of cases
    assert _alarms(same=True, reps=10) > 0.8  # why the basis is not fitted on the reference itself
