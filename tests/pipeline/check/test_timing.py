"""The arithmetic of the estimate; how long anything takes is never tested."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.check.records import Timing
from pipeline.check.survey import check_sources
from pipeline.check.timing import ENOUGH_SLICES, SampleShelf, batch_count, time_network, with_network
from pipeline.check.trial import load_trial
from pipeline.check.wording import duration, timing_words
from pipeline.scan import SeriesRef


def scorer(slices, chunk, seen=None):
    record = SimpleNamespace(preparation=SimpleNamespace(slices=slices))
    device = SimpleNamespace(type="cpu")
    log = [] if seen is None else seen
    return SimpleNamespace(record=record, chunk_series=chunk, device=device, score=lambda samples: log.append(samples))


def series(*images):
    return [SeriesRef("s", "1", "ok", images=count) for count in images]


def test_each_chunk_fills_its_last_batch_up():
    assert batch_count(series(*[1] * 65), scorer(slices=1, chunk=64)) == 4 + 1
    assert batch_count(series(30, 10, 5), scorer(slices=24, chunk=2)) == 3 + 1  # 24 + 10 in 3 batches, 5 in 1
    assert batch_count([], scorer(slices=1, chunk=64)) == 0


def test_the_first_run_is_not_counted():
    runs = []
    samples = [np.zeros((20, 1, 2, 2), np.uint16), np.zeros((15, 1, 2, 2), np.uint16)]
    batches, _ = time_network(scorer(24, 2, runs), samples)
    assert batches == 3  # 35 slices in batches of 16
    assert runs == [samples[:1], samples]


def test_the_shelf_keeps_a_few_batches_and_no_more():
    shelf = SampleShelf()
    for _ in range(200):
        shelf.offer(np.zeros((24, 1, 2, 2), np.uint16))
    assert sum(map(len, shelf.samples)) < ENOUGH_SLICES + 24


def test_without_a_sample_the_network_is_not_timed():
    timing = Timing(header_seconds=1.0, series=2, read_seconds=3.0)
    assert with_network(timing, scorer(1, 64), [], []) == timing
    assert timing.total_seconds is None


def test_the_total_is_the_sum_of_its_parts():
    timing = Timing(header_seconds=1.0, series=2, read_seconds=3.0, device="cpu", batch_seconds=0.5, batches=12)
    assert timing.network_seconds == 6
    assert timing.total_seconds == 10


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.04 s"), (9.94, "9.9 s"), (61, "61 s"), (300, "5 min"), (9000, "2.5 h")]
)
def test_durations_are_told_in_the_unit_that_fits(seconds, told):
    assert duration(seconds) == told


def test_what_the_estimate_was_measured_on_is_said(samples, radiograph_bundle):
    check = check_sources([samples / "incoming"], trial=load_trial(radiograph_bundle, "cpu"))
    timing = check.timing
    assert (timing.series, timing.batches, timing.measured_batches, timing.device) == (24, 2, 2, "cpu")
    assert timing.total_seconds > 0
    assert "measured on 24 series here, the network on 2 of 2 batches, on cpu" in timing_words(check)
    assert timing_words(replace(check, timing=None)) == "time to score: not measured, since only headers were read"


def test_without_a_bundle_only_reading_is_timed(samples):
    check = check_sources([samples / "ct"])
    assert check.timing.total_seconds is None
    assert timing_words(check).endswith("measured on 1 series here; the network needs a bundle")
