import contextlib
import json
import logging
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from pipeline.config import EngineName
from pipeline.detect.slices import SCORING_BATCH
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.prepare.samples import prepare
from pipeline.score.engines import choose
from pipeline.score.engines.choose import KINDS, NAMES, WORTH_SLICES, EngineRoom
from pipeline.score.engines.engine import AGAIN_BATCH, FLOAT32, REDUCED, Engine, EngineError, EngineKind
from pipeline.score.engines.for_run import choose_for
from pipeline.score.engines.runner import Runner
from pipeline.score.outcome import Outcome
from pipeline.score.scorer import load_scorer

CPU = torch.device("cpu")
MANY = 10 * WORTH_SLICES


def no_scans(most, slices):
    raise AssertionError("no scan is needed")


def offset(amount, *, name="off", tolerance=FLOAT32, calls=None):
    """An engine that moves the head's input so that calibrated scores are off."""

    def load(network, slot):
        def run(slices):
            if calls is not None:
                calls.append(tuple(slices.shape))
            return network(slices) * (1 + amount)

        return run

    return EngineKind(name, tolerance, lambda device: "", load)


@pytest.fixture(scope="module")
def scorer(radiograph_bundle):
    """A network that was never trained, with a temperature that brings its scores away from 0 and 1."""
    scorer = load_scorer(radiograph_bundle, CPU)
    record = scorer.record.model_copy(update={"temperature": 40.0})
    return replace(scorer, model=replace(scorer.model, record=record))


@pytest.fixture(scope="module")
def refs(samples):
    found = [ref for ref in scan_sources([samples / "radiographs", samples / "incoming"]) if ref.status == "ok"]
    return [ref for ref in found if ref.modality in ("CR", "DX")]


@pytest.fixture(scope="module")
def scans(refs, scorer):
    return [prepare(read_scan(ref), scorer.record.preparation).slices for ref in refs[:24]]


@pytest.fixture
def room(scorer, tmp_path):
    return EngineRoom(scorer.model, scorer.digest, tmp_path, CPU)


def sure(room):
    """Scores near 0 and 1, as of a network that was trained, so that reduced precision leaves few in doubt."""
    record = room.model.record.model_copy(update={"temperature": 0.05, "sets": None})
    return replace(room, model=replace(room.model, record=record))


def giving(scans):
    return lambda most, slices: scans[:most]


def test_the_configuration_knows_the_same_engines():
    assert set(get_args(EngineName)) == set(NAMES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "compile" else name for name in KINDS]
)
def test_each_engine_agrees_with_eager(name, room, scans):
    kind, room = KINDS[name], sure(room)
    if reason := kind.missing(CPU):
        pytest.skip(reason)
    engine = room.choose(name, kept="", scans=giving(scans), slices=MANY)
    assert engine.name == name
    ours = Runner(room.model, CPU, engine).outcomes(scans)
    theirs = Runner(room.model, CPU).outcomes(scans)
    assert [outcome.decision for outcome in ours] == [outcome.decision for outcome in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.anomaly_score == pytest.approx(b.anomaly_score, abs=kind.tolerance)
    assert len({outcome.anomaly_score for outcome in ours}) > len(scans) / 2  # the surest are 0 and 1


def test_an_openvino_score_depends_on_nothing_but_its_scan(room, scans):
    if reason := KINDS["openvino"].missing(CPU):
        pytest.skip(reason)
    runner = Runner(room.model, CPU, room.choose("openvino", kept="", scans=giving(scans), slices=MANY))
    together = runner.outcomes(scans)
    assert [runner.outcomes([scan])[0] for scan in scans] == together
    assert runner.outcomes(scans[::-1]) == together[::-1]


def test_an_engine_that_lies_gets_no_seal(room, scans, monkeypatch):
    monkeypatch.setitem(KINDS, "off", offset(0.5))
    with pytest.raises(EngineError, match="not used"):
        room.choose("off", kept="", scans=giving(scans), slices=MANY)
    assert not list(room.cache.rglob("off*.json"))


def test_auto_takes_the_cheapest_that_is_sealed(room, scans, monkeypatch):
    calls = []
    monkeypatch.setattr(choose, "KINDS", {
        "eager": KINDS["eager"],
        "lying": offset(0.5, name="lying"),
        "honest": offset(0.0, name="honest", calls=calls),
    })  # fmt: skip
    monkeypatch.setattr(choose, "reference", lambda *a: replace(made(*a), seconds=1e6))  # eager is never cheapest
    engine = room.choose("auto", kept="", scans=giving(scans), slices=MANY)
    assert engine.name == "honest"
    assert "lying: " in engine.note
    assert "honest " in engine.note
    assert calls
    assert set(calls) == {(SCORING_BATCH, 1, 64, 64)}
    again = room.choose("auto", kept="", scans=no_scans, slices=5)  # its seal is there, and nothing is measured
    assert (again.name, again.note) == ("honest", "")


def made(*arguments):
    from pipeline.score.engines.seal import reference

    return reference(*arguments)


def test_eager_where_nothing_is_faster(room, scans, monkeypatch):
    monkeypatch.setattr(choose, "KINDS", {"eager": KINDS["eager"], "lying": offset(0.5, name="lying")})
    assert room.choose("auto", kept="", scans=giving(scans), slices=MANY).text == "eager"
    assert json.loads(next(room.cache.rglob("choice.json")).read_text()) == {"engine": "eager", "version": 2}


def test_few_scans_are_scored_by_eager_without_measuring(room):
    assert room.choose("auto", kept="", scans=no_scans, slices=WORTH_SLICES - 1).name == "eager"


def test_too_few_scans_make_no_seal(room, scans):
    assert room.choose("auto", kept="", scans=giving(scans[:7]), slices=MANY).name == "eager"
    with pytest.raises(EngineError, match="7 readable scans"):
        room.choose("amp", kept="", scans=giving(scans[:7]), slices=MANY)


def test_a_run_keeps_the_engine_of_its_ledger(room, scans, monkeypatch):
    monkeypatch.setitem(KINDS, "honest", offset(0.0, name="honest"))
    assert room.choose("auto", kept="honest", scans=giving(scans), slices=5).name == "honest"
    assert room.choose("auto", kept="eager:4", scans=no_scans, slices=MANY).text == "eager:4"


def test_an_engine_of_the_ledger_that_no_longer_agrees_is_dropped(room, scans, monkeypatch, caplog):
    monkeypatch.setitem(KINDS, "honest", offset(0.4, name="honest"))
    with caplog.at_level(logging.INFO):
        assert room.choose("auto", kept="honest", scans=giving(scans), slices=5).name == "eager"
    assert "not used" in caplog.text


def test_an_altered_export_is_not_believed(room, scans):
    kind = KINDS["openvino"]
    if reason := kind.missing(CPU):
        pytest.skip(reason)
    room.choose("openvino", kept="", scans=giving(scans), slices=MANY)
    exported = next(room.cache.rglob("model.bin"))
    seal = next(room.cache.rglob("openvino-1.json"))
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1
    exported.write_bytes(content)
    asked = []

    def again(most, slices):
        asked.append(most)
        return scans[:most]

    with contextlib.suppress(EngineError):  # the altered weights may differ by too much
        room.choose("openvino", kept="", scans=again, slices=MANY)
    assert asked, "held against eager again"
    record = json.loads(seal.read_text())
    record["bundle"] = "0" * 64
    seal.write_text(json.dumps(record))
    asked.clear()
    room.choose("openvino", kept="", scans=again, slices=MANY)
    assert asked


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"engine": "nobody"}', "nonsense", '{"engine": 5}'])
def test_a_seal_or_choice_that_makes_no_sense_is_none(text, room, scans, monkeypatch):
    monkeypatch.setitem(KINDS, "honest", offset(0.0, name="honest"))
    room.folder.mkdir(parents=True)
    (room.folder / "honest-1.json").write_text(text)
    (room.folder / "choice.json").write_text(text)
    assert room.choose("honest", kept="", scans=giving(scans), slices=MANY).name == "honest"
    assert room.choose("auto", kept="", scans=giving(scans), slices=5).name == "eager"


def test_scans_close_to_a_threshold_are_decided_by_eager(room, scans, monkeypatch):
    exact = Runner(room.model, CPU).outcomes(scans)
    middle = sorted(outcome.anomaly_score for outcome in exact)[len(scans) // 2]
    model = replace(room.model, record=room.model.record.model_copy(update={"anomaly_threshold": middle}))
    engine = Engine("off", FLOAT32, offset(-1e-4).load(model.network, None), channels=1)
    wanted = Runner(model, CPU).outcomes(scans)
    found = Runner(model, CPU, engine).outcomes(scans)
    assert [outcome.decision for outcome in found] == [outcome.decision for outcome in wanted]
    at = [n for n, outcome in enumerate(wanted) if outcome.anomaly_score == middle]
    assert found[at[0]] == wanted[at[0]]
    far = [n for n, outcome in enumerate(wanted) if abs(outcome.anomaly_score - middle) > 0.01]
    assert far
    assert all(found[n] != wanted[n] for n in far)
    careless = Runner(model, CPU, replace(engine, tolerance=0.0)).outcomes(scans)
    assert careless[at[0]] != wanted[at[0]]


def test_the_first_readable_series_of_a_run_make_the_seal(room, scorer, refs, tmp_path):
    engine = choose_for(replace(scorer, model=sure(room).model), refs[:24], "amp", tmp_path, kept="", series=len(refs))
    assert engine.name == "amp"
    seal = json.loads(next(tmp_path.rglob("amp-1.json")).read_text())
    assert seal["scans"] == 24
    assert 0 < seal["worst"] <= 0.01


def test_eager_that_was_measured_best_is_not_measured_again(room, scans, monkeypatch):
    monkeypatch.setattr(choose, "KINDS", {"eager": KINDS["eager"], "lying": offset(0.5, name="lying")})
    assert room.choose("auto", kept="", scans=giving(scans), slices=MANY).name == "eager"
    assert room.choose("auto", kept="eager", scans=no_scans, slices=MANY).text == "eager"  # the run's next shard
    next(room.cache.rglob("choice.json")).unlink()
    assert room.choose("auto", kept="eager", scans=giving(scans), slices=MANY).note  # there had been little to score


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("compiler"), MemoryError()])
def test_an_engine_that_breaks_while_it_is_made_is_not_used(error, room, scans, monkeypatch):
    def broken(*_):
        raise error

    monkeypatch.setattr(choose, "KINDS", {
        "eager": KINDS["eager"],
        "loads": EngineKind("loads", FLOAT32, lambda device: "", broken),
        "runs": EngineKind("runs", FLOAT32, lambda device: "", lambda network, slot: broken),
        "exports": EngineKind("exports", FLOAT32, lambda device: "", broken, broken, ("model",)),
    })  # fmt: skip
    engine = room.choose("auto", kept="", scans=giving(scans), slices=MANY)
    assert engine.name == "eager"
    for name in ("loads", "runs", "exports"):
        assert f"{name}: cannot be used here ({type(error).__name__})" in engine.note
    with pytest.raises(EngineError, match="cannot be used here"):
        room.choose("loads", kept="", scans=giving(scans), slices=MANY)


def test_where_nothing_can_be_kept_the_engine_is_used_all_the_same(room, scans, monkeypatch):
    def full(path, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(choose, "write_json", full)
    monkeypatch.setitem(KINDS, "honest", offset(0.0, name="honest"))
    assert room.choose("honest", kept="", scans=giving(scans), slices=MANY).name == "honest"


def test_short_memory_of_eager_itself_leaves_the_choice_to_scoring(room, scans, monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(choose, "reference", short)
    assert room.choose("auto", kept="", scans=giving(scans), slices=MANY).text == "eager"


def test_an_engine_of_numbers_that_are_not_finite_gets_no_seal(room, scans, monkeypatch):
    """All scans are normal here, and a score that is not a number reaches no threshold."""
    normal = room.model.record.model_copy(update={"anomaly_threshold": 1.0, "sets": None})
    room = replace(room, model=replace(room.model, record=normal))
    monkeypatch.setitem(KINDS, "nan", offset(float("nan"), name="nan"))
    with pytest.raises(EngineError, match="not finite"):
        room.choose("nan", kept="", scans=giving(scans), slices=MANY)


def test_a_number_that_is_not_finite_is_computed_again_by_eager(room, scans):
    engine = Engine("off", FLOAT32, offset(float("nan")).load(room.model.network, None), channels=1)
    assert Runner(room.model, CPU, engine).outcomes(scans) == Runner(room.model, CPU).outcomes(scans)


def test_scans_that_are_refused_make_no_seal(room, scans, monkeypatch):
    class Refusing(type(room.model)):
        def decide(self, rows):
            return Outcome("refused", "NOT_APPLICABLE: another kind")

    model = Refusing(room.model.record, room.model.classifier, CPU)
    monkeypatch.setitem(KINDS, "lying", offset(0.5, name="lying"))
    with pytest.raises(EngineError, match="0 scans with a score"):
        replace(room, model=model).choose("lying", kept="", scans=giving(scans), slices=MANY)


def test_grey_and_colour_together_make_a_seal(room, scans, monkeypatch):
    colour = np.repeat(scans[0], 3, axis=1)
    shapes = []
    monkeypatch.setitem(KINDS, "honest", offset(0.0, name="honest", calls=shapes))
    engine = room.choose("honest", kept="", scans=giving([*scans[:12], colour]), slices=MANY)
    assert engine.channels == 3
    assert set(shapes) == {(SCORING_BATCH, 3, 64, 64)}  # the one shape that an engine takes


def noisy(amount, *, name="noisy", exact="eager", calls=None):
    """An engine of reduced precision, which rounds each row to steps of a relative size."""

    def load(network, slot):
        def run(slices):
            if calls is not None:
                calls.append(len(slices))
            rows = network(slices)
            step = amount * rows.abs().mean()
            return torch.round(rows / step) * step

        return run

    return EngineKind(name, REDUCED, lambda device: "", load, exact=exact)


def sharpened(room):
    """The same room with a head whose scores a small difference moves far."""
    record = room.model.record.model_copy(update={"temperature": 0.2, "sets": None})
    return replace(room, model=replace(room.model, record=record))


@pytest.fixture
def chain(room, monkeypatch):
    """A room with a reduced engine `noisy` that turns to an exact one, `honest`, and the shapes that came to this."""
    calls = []
    monkeypatch.setitem(KINDS, "honest", offset(0.0, name="honest", calls=calls))
    monkeypatch.setitem(KINDS, "noisy", noisy(0.001, exact="honest"))
    return sharpened(room), calls


def test_scores_that_reduced_precision_could_move_too_far_are_computed_again(room, scans, monkeypatch):
    room = sharpened(room)
    monkeypatch.setitem(KINDS, "noisy", noisy(0.001))
    engine = room.choose("noisy", kept="", scans=giving(scans), slices=MANY)
    seal = json.loads(next(room.cache.rglob("noisy-1.json")).read_text())
    assert 0 < seal["again"] < 0.5
    assert seal["reach"] == engine.reach > 0
    assert seal["worst"] <= REDUCED
    wanted = Runner(room.model, CPU).outcomes(scans)
    apart = [off(a, b) for a, b in zip(Runner(room.model, CPU, engine).outcomes(scans), wanted, strict=True)]
    careless = replace(engine, reach=0.0)
    unguarded = [off(a, b) for a, b in zip(Runner(room.model, CPU, careless).outcomes(scans), wanted, strict=True)]
    assert max(apart) <= REDUCED < max(unguarded)


def off(ours, theirs):
    return max(abs(a - b) for a, b in zip(ours.probability, theirs.probability, strict=True))


def test_what_is_in_doubt_goes_to_the_exact_engine_and_from_there_to_eager(chain, scans, monkeypatch):
    room, calls = chain
    engine = room.choose("noisy", kept="", scans=giving(scans), slices=MANY)
    assert engine.exact is not None
    assert engine.exact.name == "honest"
    assert engine.text == "noisy"
    calls.clear()
    Runner(room.model, CPU, engine).outcomes(scans)
    assert calls
    assert {shape[0] for shape in calls} == {AGAIN_BATCH}
    again = room.choose("noisy", kept="", scans=no_scans, slices=MANY)  # both seals are there
    assert Runner(room.model, CPU, again).outcomes(scans) == Runner(room.model, CPU, engine).outcomes(scans)
    monkeypatch.setitem(KINDS, "honest", offset(0.5, name="honest"))
    next(room.cache.rglob("honest-1-4.json")).unlink()
    with pytest.raises(EngineError, match="honest"):  # nothing exact to turn to
        room.choose("noisy", kept="", scans=giving(scans), slices=MANY)


def test_reduced_precision_that_leaves_most_in_doubt_is_not_used(room, scans, monkeypatch):
    monkeypatch.setitem(KINDS, "coarse", noisy(30.0, name="coarse"))
    with pytest.raises(EngineError, match="in doubt"):
        room.choose("coarse", kept="", scans=giving(scans), slices=MANY)


def test_how_far_scores_move_is_what_the_log_odds_say(room, scans):
    rows = room.model.rows(scans[:1])[0]
    z = room.model.latent(rows)
    p = np.array(room.model.decide(rows).probability)
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), p, atol=1e-9)
    by_hand = max(abs(1 / (1 + np.exp(-(z + sign * 0.3))) - p).max() for sign in (1, -1))
    assert room.model.moved(rows, 0.3) == pytest.approx(by_hand)
    assert room.model.moved(rows, 0.0) == 0


def test_easy_scans_hide_no_reach(room, scans, monkeypatch):
    """All scores agree, since all scans are sure; a scan that is not sure has to be computed again all the same."""
    room = sure(room)
    easy = [scan for scan in scans if abs(room.model.latent(room.model.rows([scan])[0])[0]) > 20]
    assert len(easy) >= 8
    monkeypatch.setitem(KINDS, "noisy", noisy(1e-4))
    engine = room.choose("noisy", kept="", scans=giving(easy), slices=MANY)
    assert engine.reach > 0
    assert json.loads(next(room.cache.rglob("noisy-1.json")).read_text())["again"] == 0


@pytest.mark.parametrize("tolerance", [FLOAT32, REDUCED])
def test_scans_that_are_all_close_calls_make_no_seal(tolerance, room, scans, monkeypatch):
    class Undecided(type(room.model)):
        def near(self, rows, tolerance):
            return True

    model = Undecided(room.model.record, room.model.classifier, CPU)
    monkeypatch.setitem(KINDS, "lying", offset(0.5, name="lying", tolerance=tolerance))
    with pytest.raises(EngineError, match="24 of 24 scans in doubt"):
        replace(room, model=model).choose("lying", kept="", scans=giving(scans), slices=MANY)


def test_a_seal_is_of_one_batch(chain, scans):
    room, calls = chain
    room.choose("noisy", kept="", scans=giving(scans), slices=MANY)
    calls.clear()
    room.choose("honest", kept="", scans=giving(scans), slices=MANY)
    assert {shape[0] for shape in calls} == {SCORING_BATCH}
