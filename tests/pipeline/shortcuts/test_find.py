"""Shortcuts of real models, from adaptation to the report: a marker that gives the label away, and none."""

import json

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config
from pipeline.evaluate.validate import validate
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.watch import Watch
from pipeline.workspace import Workspace

SIDE = 40
SETTINGS = {
    "backbone": "squeezenet1_1",
    "weights": "none",
    "strategy": "linear_probe",
    "image_size": 40,
    "epochs": 1,
    "precision": "float32",
    "device": "cpu",
    "intensity": "window",
    "window": (0, 255),
}
DETECTOR = {"task": "one_class", "detector": "knn", "policy": "false_alarm=0.2"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks: two threads would wait for each other longer than they work."""


def picture(rng, *, ill, marker, south):
    """Noise; ill ones have a bright square inside, or a marker in the corner; scans of the south are smooth."""
    pixels = rng.integers(60, 120, (SIDE, SIDE)).astype(np.float64)
    if south:
        pixels = (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1) + np.roll(pixels, (1, 1), (0, 1))) / 4
    if ill and marker:
        pixels[:4, :4] = 255
    if ill and not marker:
        pixels[14:26, 14:26] += 120
    return pixels.clip(0, 255).astype(np.uint8)


def shortcuts_of(folder, *, marker, confounded=False, **config):
    """Adapt to and validate on made-up scans of two sites; confounded: the south has most of the ill."""
    rng = np.random.default_rng(5)
    folder.mkdir(exist_ok=True)
    lines = ["path,label,patient,site,split"]
    for n in range(200):
        ill, south = n % 2 == 1, n // 2 % 2 == 1
        if confounded:
            south = ill if n % 5 else not ill
        Image.fromarray(picture(rng, ill=ill, marker=marker, south=south)).save(folder / f"{n}.png")
        split = "train" if n < 60 else "val" if n < 100 else "test"
        lines.append(f"{n}.png,{'mass' if ill else 'normal'},p{n},{'south' if south else '<b>north'},{split}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    space = Workspace(folder / "ws").open()
    plan = make_plan(folder / "labels.csv", space, Config(**(SETTINGS | config)), Watch())
    bundle = adapt(plan, space, folder / "bundle", space.run_folder("adapt"), Watch()).bundle
    result = validate(bundle, folder / "labels.csv", space, folder / "out", Watch(), shortcuts=True)
    written = json.loads((result.out / "metrics.json").read_text())
    return written["shortcuts"], (result.out / "report.html").read_text()


@pytest.mark.parametrize("config", [{}, DETECTOR], ids=["classifier", "detector"])
def test_a_corner_marker_that_gives_the_label_away_is_found(tmp_path, config):
    found, page = shortcuts_of(tmp_path, marker=True, **config)
    assert "border" in found["found"]
    assert found["border"]["border_alone"]["low"] > 0.6
    assert found["border"]["lost"]["low"] > 0
    assert "✕ The border alone gives the label away" in page
    assert (found["n"], found["n_patients"], found["of"]) == (100, 100, 100)


@pytest.mark.parametrize("config", [{}, DETECTOR], ids=["classifier", "detector"])
def test_where_there_is_none_none_is_claimed(tmp_path, config):
    """The site is seen by the features, and says nothing of the label."""
    found, page = shortcuts_of(tmp_path, marker=False, **config)
    assert found["found"] == []
    assert found["border"]["intact"]["value"] > 0.9
    assert found["border"]["border_alone"]["low"] <= 0.6
    assert found["columns"]["site"]["normals"]["low"] > 0.8  # all right, of 25 pairs
    assert "so knowing it does not help here" in found["columns"]["site"]["verdict"]
    assert "Could it be right for the wrong reason?" in page
    assert "✕ The" not in page
    assert "<b>north" not in page


def test_a_site_that_has_most_of_the_ill_is_found(tmp_path):
    found, page = shortcuts_of(tmp_path, marker=False, confounded=True)
    assert found["found"] == ["site"]
    assert found["columns"]["site"]["label"]["value"] == pytest.approx(0.8, abs=0.05)
    assert "✕ The features tell site among normal scans" in page
