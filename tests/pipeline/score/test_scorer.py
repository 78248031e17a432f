import csv
from dataclasses import replace

import pytest
import torch

from pipeline.detect.slices import SCORING_BATCH
from pipeline.errors import Reason, ScanError
from pipeline.evaluate.validate import validate
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.model_record import read_record
from pipeline.prepare.samples import prepare
from pipeline.score import scorer as scorer_module
from pipeline.score.folder import score_folder
from pipeline.score.ledger import Ledger
from pipeline.score.scorer import chunk_name, load_scorer, pending, run_key, score_series
from pipeline.watch import Watch
from pipeline.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[("incoming", 19), ("volumes", 4)], ids=["radiographs", "volumes"])
def kind(request, samples, radiograph_bundle, volume_bundle):
    """A scorer and prepared samples of its kind: radiographs are bags of one, volumes of up to 24."""
    folder, count = request.param
    bundle = radiograph_bundle if folder == "incoming" else volume_bundle
    scorer = load_scorer(bundle, CPU)
    refs = [ref for ref in scan_sources([samples / folder]) if ref.status == "ok"][:count]
    return scorer, [prepare(read_scan(ref), scorer.record.preparation).slices for ref in refs]


def test_scores_differ_between_scans(kind):
    scorer, samples = kind
    assert len({outcome.anomaly_score for outcome in scorer.score(samples)}) == len(samples)


def test_a_score_does_not_depend_on_its_neighbours(kind):
    scorer, samples = kind
    together = scorer.score(samples)
    alone = [scorer.score([sample])[0] for sample in samples]
    assert together == alone


def test_a_score_does_not_depend_on_its_place(kind):
    scorer, samples = kind
    forwards, backwards = scorer.score(samples), scorer.score(samples[::-1])
    assert forwards == backwards[::-1]


def test_a_score_is_the_same_in_a_full_and_in_a_padded_batch(kind):
    scorer, samples = kind
    one = samples[0]
    wanted = scorer.score([one])
    for count in (SCORING_BATCH - 1, SCORING_BATCH, SCORING_BATCH + 1) if len(one) == 1 else (2, 3):
        assert scorer.score([one] * count) == wanted * count


def test_the_network_always_sees_batches_of_one_size(kind, monkeypatch):
    scorer, samples = kind
    seen = []
    features = scorer.classifier.features

    def spy(images):
        seen.append(tuple(images.shape))
        return features(images)

    monkeypatch.setattr(scorer.classifier, "features", spy)
    replace(scorer).score(samples)
    size = scorer.record.preparation.image_size
    assert set(seen) == {(SCORING_BATCH, max(sample.shape[1] for sample in samples), size, size)}
    assert len(seen) == -(-sum(map(len, samples)) // SCORING_BATCH)


def test_nothing_gives_nothing(kind):
    assert kind[0].score([]) == []


def test_probabilities_add_up_and_the_anomaly_score_is_the_rest(kind):
    scorer, samples = kind
    for outcome in scorer.score(samples):
        assert sum(outcome.probability) == pytest.approx(1)
        assert outcome.anomaly_score == pytest.approx(1 - outcome.probability[0])


def test_at_the_threshold_it_is_an_anomaly_and_just_below_it_is_not(kind):
    scorer, samples = kind
    score = scorer.score(samples[:1])[0].anomaly_score
    decisions = []
    for threshold in (score, score + 1e-12, score - 1e-12):
        record = scorer.record.model_copy(update={"anomaly_threshold": threshold})
        changed = replace(scorer, model=replace(scorer.model, record=record))
        decisions.append(changed.score(samples[:1])[0].decision)
    assert decisions == ["anomaly", "normal", "anomaly"]


@pytest.mark.parametrize("folder", ["radiographs", "volumes"])
def test_scores_are_the_predictions_that_validate_makes(folder, samples, radiograph_bundle, volume_bundle, tmp_path):
    bundle = radiograph_bundle if folder == "radiographs" else volume_bundle
    score_folder(samples / folder, bundle, tmp_path / "scores")
    space = Workspace(tmp_path / "ws").open()
    validate(bundle, samples / folder / "labels.csv", space, tmp_path / "validation", Watch())
    scored = rows_by_uid(tmp_path / "scores" / "scores.csv")
    predicted = rows_by_uid(tmp_path / "validation" / "predictions.csv")
    assert len(predicted) >= 8
    for uid, row in predicted.items():
        assert row["predicted"] == scored[uid]["predicted"]
        assert row["decision"] == scored[uid]["decision"]
        for column in ("anomaly_score", "p_normal"):
            assert float(row[column]) == pytest.approx(float(scored[uid][column]), abs=1.01e-4)


def rows_by_uid(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["series_uid"]: row for row in csv.DictReader(file) if row["series_uid"]}


def test_a_scan_of_another_kind_is_refused_and_stops_nothing(samples, radiograph_bundle, tmp_path):
    refs = [ref for ref in scan_sources([samples / "incoming", samples / "ct"]) if ref.status == "ok"]
    scorer = load_scorer(radiograph_bundle, CPU)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    counts = score_series(scorer, refs, ledger)
    assert counts == {"scored": 24, "refused": 1}
    refused = [o for o in ledger.done(scorer.run_key).values() if o.status == "refused"]
    assert refused[0].reason.startswith("NOT_APPLICABLE: ")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ScanError(Reason.DECODE_FAILED, "cut"), "refused", "DECODE_FAILED: cut"),
        (OSError(5, "Input/output error", "/data/Mueller_Hans.dcm"), "failed", "UNREADABLE: Input/output error"),
        (MemoryError(), "failed", "OVER_BUDGET: not enough memory to score it now"),
    ],
)
def test_one_unreadable_series_does_not_stop_the_rest(
    samples, radiograph_bundle, tmp_path, monkeypatch, error, status, reason
):
    refs = [ref for ref in scan_sources([samples / "incoming"]) if ref.status == "ok"][:5]

    def read(ref):
        if ref is refs[2]:
            raise error
        return read_scan(ref)

    monkeypatch.setattr(scorer_module, "read_scan", read)
    scorer = load_scorer(radiograph_bundle, CPU)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert score_series(scorer, refs, ledger) == {"scored": 4, status: 1}
    assert reason in ledger.path.read_text()
    assert "Mueller" not in ledger.path.read_text()
    again = pending(refs, ledger, scorer.run_key)
    assert again == ([refs[2]] if status == "failed" else [])


def test_the_ledger_is_written_chunk_by_chunk(samples, volume_bundle, tmp_path):
    refs = [ref for ref in scan_sources([samples / "volumes"]) if ref.status == "ok"][:5]
    scorer = load_scorer(volume_bundle, CPU)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    sizes = []
    score_series(scorer, refs, ledger, lambda n: sizes.append((n, len(ledger.done(scorer.run_key)))))
    assert scorer.chunk_series == 2
    assert sizes == [(2, 2), (2, 4), (1, 5)]


def test_pending_takes_each_content_once_in_order(samples, radiograph_bundle, tmp_path):
    refs = [ref for ref in scan_sources([samples / "incoming"]) if ref.status == "ok"][:3]
    copy = replace(refs[0], source="zzz")
    assert pending([*refs, copy], Ledger(tmp_path / "none"), "k") == refs


def test_pending_leaves_out_what_was_refused_before(samples, tmp_path):
    refs = scan_sources([samples / "broken"])
    assert {ref.status for ref in refs} == {"refused"}
    assert pending(refs, Ledger(tmp_path / "none"), "k") == []


def test_run_key_names_bundle_and_device():
    keys = {run_key("a", CPU), run_key("b", CPU), run_key("a", torch.device("cuda"))}
    assert len(keys) == 3
    assert run_key("a", torch.device("cuda:0")) == run_key("a", torch.device("cuda:1"))


def test_chunk_name_depends_on_members_and_order(samples):
    refs = [ref for ref in scan_sources([samples / "incoming"]) if ref.status == "ok"][:2]
    assert len({chunk_name(refs), chunk_name(refs[::-1]), chunk_name(refs[:1])}) == 3


def test_load_scorer_takes_its_settings_from_the_bundle(new_bundle, tmp_path):
    from models.bundle import open_bundle

    folder = new_bundle(tmp_path / "b", threshold=0.123, size=96)
    scorer = load_scorer(folder, CPU)
    assert scorer.record == read_record(open_bundle(folder))
    assert (scorer.record.anomaly_threshold, scorer.record.preparation.image_size) == (0.123, 96)
