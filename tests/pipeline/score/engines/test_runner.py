import json

import pytest
import torch

from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.samples import prepare
from pipeline.score.engines.engine import Engine
from pipeline.score.engines.runner import Runner, is_short
from pipeline.score.ledger import Ledger
from pipeline.score.scorer import load_scorer, score_series

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def refs(samples):
    return [ref for ref in scan_sources([samples / "radiographs" / "north"]) if ref.status == "ok"][:20]


@pytest.fixture
def scorer(radiograph_bundle):
    return load_scorer(radiograph_bundle, CPU)


def fits(network, most, error=torch.OutOfMemoryError):
    """A network for which memory runs out with more than so many slices."""

    def run(slices):
        if len(slices) > most:
            raise error("DefaultCPUAllocator: can't allocate memory" if error is RuntimeError else "")
        return network(slices)

    return run


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_short_memory_halves_the_batch_and_computes_the_chunk_anew(scorer, refs, error):
    samples = [prepare(read_scan(ref), scorer.record.preparation).slices for ref in refs]
    wanted = scorer.runner.outcomes(samples)
    runner = Runner(scorer.model, CPU, Engine("fast", 1e-3, fits(scorer.model.network, 0, error), channels=1))
    runner._network = fits(scorer.model.network, 4, error)
    found = runner.outcomes(samples)
    assert runner.engine.text == "eager:4"
    for a, b in zip(found, wanted, strict=True):
        assert a.decision == b.decision
        assert a.anomaly_score == pytest.approx(b.anomaly_score, abs=1e-4)


def test_the_ledger_says_what_ran_the_network(scorer, refs, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.engine(scorer.run_key) == ""
    scorer.runner._network = fits(scorer.model.network, 4)
    score_series(scorer, refs, ledger)
    assert ledger.engine(scorer.run_key) == "eager:4"
    assert ledger.engine("another") == ""
    assert {json.loads(line)["engine"] for line in ledger.path.read_text().splitlines()} == {"eager:4"}


def test_scans_for_which_there_is_no_memory_fail_and_are_tried_again(scorer, refs, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    scorer.runner._network = fits(scorer.model.network, 0)
    assert score_series(scorer, refs, ledger) == {"failed": len(refs)}
    assert ledger.done(scorer.run_key) == {}
    assert "OVER_BUDGET" in ledger.path.read_text()


def test_other_errors_are_not_taken_for_short_memory(scorer, refs):
    assert not is_short(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_short(ValueError("out of memory"))
    sample = prepare(read_scan(refs[0]), scorer.record.preparation).slices
    scorer.runner._network = lambda slices: (_ for _ in ()).throw(RuntimeError("shapes"))
    with pytest.raises(RuntimeError, match="shapes"):
        scorer.runner.outcomes([sample])


def test_slices_that_an_engine_was_not_made_for_go_through_the_network(scorer, refs):
    samples = [prepare(read_scan(ref), scorer.record.preparation).slices for ref in refs[:3]]
    wrong = Engine("fast", 1e-3, fits(scorer.model.network, 0, ValueError), channels=3)
    assert Runner(scorer.model, CPU, wrong).outcomes(samples) == scorer.runner.outcomes(samples)
