"""The page stands alone, tells nothing of who, and shows what is told elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.check import page as page_module
from pipeline.check.geometry_proof import Steps
from pipeline.check.page import render
from pipeline.check.slice_strip import slice_strip
from pipeline.check.survey import check_sources
from pipeline.check.trial import load_trial

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def check(samples, radiograph_bundle):
    trial = load_trial(radiograph_bundle, "cpu")
    return check_sources([samples / "broken", samples / "ct", samples / "incoming"], trial=trial)


@pytest.fixture(scope="module")
def page(check):
    return render(check)


def test_the_page_needs_nothing_but_itself(page):
    assert "://" not in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert not re.search(r"url\((?!#)|@import", page)


def test_every_link_leads_to_a_series_of_the_page(page, check):
    places = set(re.findall(r'id="(s\d+)"', page))
    assert set(re.findall(r'href="#(s\d+)"', page)) == places
    assert len(places) == sum(row.belongs for row in check.rows)


def test_the_summary_comes_first_with_every_reason_and_its_remedy(page):
    page = page[page.index("<main") :]  # behind the list of contents
    assert page.index("24 series would be scored") < page.index("MISSING_SLICE") < page.index("Series by series")
    for words in ("Send the missing slices.", "Use a model for this kind.", "missing codecs: none", "0 of 24 patients"):
        assert words in page
    assert "For research use only; not a medical device." in page


def test_geometry_and_chain_of_a_series_are_there(page):
    for words in (
        "slice gap 14 mm",
        "one rescale for all images",
        "Hounsfield units",
        "RLE Lossless",
        "LPS, right-handed",
    ):
        assert words in page


def test_the_look_is_that_of_the_other_reports(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert 'class="verdict unclear"' in page


@pytest.mark.filterwarnings("ignore:.*VR CS")  # of the file that is written
def test_whatever_a_header_holds_is_escaped(tmp_path, radiograph, write, check_folder):
    stored = np.arange(30, dtype=np.uint16).reshape(6, 5)
    hostile = {"Modality": EVIL, "PatientID": EVIL, "PhotometricInterpretation": EVIL[:16], "RescaleType": EVIL}
    for n, (name, value) in enumerate(hostile.items()):
        ds = radiograph(stored, SeriesInstanceUID=f"1.2.{n}", SOPInstanceUID=f"1.3.{n}", **{name: value})
        write(ds, tmp_path / "scans" / f"{n}<img src=x>.dcm")
    told = render(check_folder())
    assert "<script" not in told
    assert "<img" not in told
    assert "alert" not in told


@pytest.mark.parametrize(
    ("status", "kind"), [("ok", "shown"), ("refused", "against")], ids=["all can be used", "none can be used"]
)
def test_the_verdict_follows_the_counts(check, status, kind):
    told = render(replace(check, rows=tuple(row for row in check.rows if row.ref.status == status)))
    assert f'class="verdict {kind}"' in told


def test_of_too_many_series_the_refused_stay(check, monkeypatch):
    monkeypatch.setattr(page_module, "MOST_SERIES", 4)
    told = render(check)
    shown = {int(number) for number in re.findall(r'id="s(\d+)"', told)}
    refused = {row.number for row in check.rows if row.belongs and row.ref.status == "refused"}
    assert len(shown) == 4
    assert refused <= shown or shown <= refused
    assert f"{sum(row.belongs for row in check.rows) - 4} more series are in check.json" in told


def steps(*positions):
    gaps = np.diff(positions)
    return Steps(min(gaps), 2.5, max(gaps), max(abs(gaps - 2.5)), 0.025, 0.0, 0.0, 0.05, tuple(positions))


def test_a_gap_is_coloured_over_its_whole_length():
    drawing = slice_strip(steps(0.0, 2.5, 5.0, 10.0))
    left, width = map(float, re.search(r'<rect x="([\d.]+)" y="3" width="([\d.]+)"', drawing).groups())
    assert (left, width) == pytest.approx((4 + 592 / 2, 592 / 2))
    assert drawing.count("<rect") == 1
    assert drawing.count("M") == 4
    assert "4 slices over 10 mm; 1 steps outside of the tolerance" in drawing


def test_even_slices_have_no_gap_and_many_are_drawn_as_far_as_they_can_be_seen():
    drawing = slice_strip(steps(*(2.5 * np.arange(20000)).tolist()))
    assert "<rect" not in drawing
    assert len(drawing) < 100_000


def test_two_slices_at_one_place_are_seen():
    assert 'width="2.0"' in slice_strip(steps(0.0, 2.5, 2.5, 5.0))
