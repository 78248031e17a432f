"""`strategy: auto` where no model deserves trust, labels cannot judge, or nothing can be done at all."""

import contextlib
import json

import pytest

from pipeline.errors import CohortError, ConfigError, LabelsError, RefusedError
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.learn.ladder.conftest import Hospital
from tests.pipeline.learn.ladder.hospitals import CONFIG, run, write_hospitals


def grain(image, rng):
    """Nothing to see but noise of chance strength."""
    return 0.3 + rng.normal(0, rng.uniform(0.02, 0.2), image.shape)


CLEAR, ELSEWHERE = Hospital("north", strength=0.5), Hospital("south", grain)


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A target that has nothing of what the source taught, and no labels."""
    folder = tmp_path_factory.mktemp("refused")
    labels = write_hospitals(folder / "in", ELSEWHERE, north=CLEAR)
    workspace = Workspace(folder / "ws").open()
    told, run_folder = [], workspace.run_folder("adapt")
    watch = Watch(note=told.append)
    plan = make_plan(labels, workspace, CONFIG, watch)
    with pytest.raises(RefusedError) as caught:
        adapt(plan, workspace, folder / "bundle", run_folder, watch)
    return folder, run_folder, str(caught.value), told


def test_a_refusal_leaves_a_report_and_no_bundle(refused):
    folder, run_folder, message, _ = refused
    assert not (folder / "bundle").exists()
    assert {"report.html", "result.json", "config.yaml"} <= {path.name for path in run_folder.iterdir()}
    assert "cannot be estimated" in message
    assert "labelled target scans" in message
    assert "\n" not in message
    assert str(run_folder / "report.html") in message


def test_a_refusals_result_shows_the_rungs_and_the_verdict(refused):
    record = json.loads((refused[1] / "result.json").read_text())
    assert record["bundle"] is None
    assert record["verdict"].startswith("Refused: ")
    rungs = record["ladder"]["rungs"]
    assert [rung["name"] for rung in rungs][:2] == ["nothing", "feature statistics"]
    assert all(rung["measure"] == "agreement" for rung in rungs if rung["value"] is not None)
    assert all(0 <= rung["held"] <= 1 for rung in rungs if rung["value"] is not None)
    assert record["ladder"]["shift"]["labels_needed"]
    page = (refused[1] / "report.html").read_text()
    assert all(rung["name"] in page for rung in rungs)
    assert "Refused" in page


def test_too_few_scans_for_a_test_are_not_said_to_differ(refused):
    """40 target and 30 held source scans are below what is tested."""
    assert "could not be tested" in refused[2]
    assert "scans look different from the source's" not in refused[2]


def test_no_identity_in_a_refusal(refused):
    folder, run_folder, message, told = refused
    for text in (*(path.read_bytes() for path in run_folder.rglob("*") if path.is_file()), "\n".join(told).encode()):
        assert b"MILLER" not in text
        assert str(folder / "in").encode() not in text
    assert "MILLER" not in message


def test_labels_of_one_class_are_not_used_and_that_is_noted(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), labelled=0)
    text = labels.read_text().splitlines()
    text = [line.replace(".png,,", ".png,opacity,") if "south-train" in line else line for line in text]
    labels.write_text("\n".join(text) + "\n")
    made = _either(labels, tmp_path, time_budget=1e-9)
    assert "target labels were not used: all target labels are of one class" in " ".join(made["notes"])
    assert made["ladder"]["rungs"][0]["measure"] == "agreement"


def test_fewer_than_20_labels_are_not_used_and_that_is_noted(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), labelled=12)
    made = _either(labels, tmp_path, time_budget=1e-9)
    assert "target labels were not used: 12 target labels" in " ".join(made["notes"])
    assert made["ladder"]["measured_on"] == "held-out source scans"


def _either(labels, folder, **fields):
    """result.json of a run, whether it was refused or not."""
    with contextlib.suppress(RefusedError):
        run(labels, folder, **fields)
    (file,) = (folder / "ws").rglob("result.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target_sites": ("east",)}, LabelsError, r"no row of site east \(target_sites\); sites there: north, south"),
        ({"target_sites": ("north", "south")}, CohortError, "rows outside target_sites, and there: no labelled row"),
        ({"test_time": "tent"}, ConfigError, "strategy auto has no rung for it"),
        ({"align": "coral", "target_sites": ()}, ConfigError, "align=coral needs target_sites"),
        ({"target_sites": (), "source_sites": ("south",)}, CohortError, "one class only|no labelled row|at least"),
    ],
)
def test_what_cannot_work_is_refused_before_any_scan_is_prepared(tmp_path, change, error, words):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), train=8, val=8, there=20, labelled=8)
    with pytest.raises(error, match=words):
        make_plan(labels, Workspace(tmp_path / "ws").open(), CONFIG.model_copy(update=change), Watch())


def test_few_labels_of_one_hospital_alone_are_an_error_before_any_work(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), train=8, val=8, there=0, tests=0)
    with pytest.raises(CohortError, match="strategy auto without target_sites: 16 target labels"):
        make_plan(labels, Workspace(tmp_path / "ws").open(), CONFIG.model_copy(update={"target_sites": ()}), Watch())


def test_fewer_than_20_target_scans_are_an_error(tmp_path):
    labels = write_hospitals(tmp_path / "in", Hospital("south"), there=18)
    with pytest.raises(CohortError, match="18 scans of target_sites that are not test rows; at least 20"):
        make_plan(labels, Workspace(tmp_path / "ws").open(), CONFIG, Watch())
