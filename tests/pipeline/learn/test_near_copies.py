"""Copies of a picture under two patients, in adapt, in validate and in score."""

import json

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.errors import CohortError, LeakageError
from pipeline.evaluate.validate import validate
from pipeline.learn.adapt import adapt
from pipeline.learn.leakage import training_set
from pipeline.learn.near_copies import find_copies, leave_copies_out
from pipeline.learn.plan import make_plan
from pipeline.learn.prepared import prepared
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case, Cohort
from pipeline.scan import SeriesRef
from pipeline.score.folder import score_folder
from pipeline.watch import Watch
from pipeline.workspace import Workspace
from tests.pipeline.prepare.made_up import as_image, as_levels, cropped, picture

CONFIG = Config(
    backbone="squeezenet1_1", weights="none", image_size=64, epochs=1, batch_size=8, precision="float32", device="cpu"
)


def pixels(n):
    """Picture 3 is picture 1 brighter, 12 is 4 cropped, all others are one patient's own."""
    if n == 12:
        return as_image(cropped(picture(4), 5))
    return as_image(as_levels(picture(1) / 65535 + 0.05) if n == 3 else picture(n))


def write_cohort(folder, *, split=lambda n: "test" if n >= 14 else "val" if n >= 8 else "train", numbers=range(16)):
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,patient,split"]
    for n in numbers:
        pixels(n).save(folder / f"{n}.png")
        lines.append(f"{n}.png,{('normal', 'opacity')[n % 2]},MILLER{n},{split(n)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks."""


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A bundle adapted to a cohort where a val row is a copy of a train row; its run's result.json."""
    folder = tmp_path_factory.mktemp("copies")
    workspace = Workspace(folder / "ws").open()
    plan = make_plan(write_cohort(folder), workspace, CONFIG, Watch())
    made = adapt(plan, workspace, folder / "bundle", workspace.run_folder("adapt"), Watch())
    return folder / "bundle", json.loads(made.result.read_text()), made


def test_a_val_copy_of_a_train_scan_is_left_out_and_told_by_its_line(adapted):
    _, result, made = adapted
    words = "NEAR_DUPLICATE: looks like a copy of line 6, which is train, under another patient"
    assert result["left_out"] == [{"line": 14, "reason": words}]
    assert result["training"]["val"]["patients"] == 5
    notes = " ".join(result["notes"])
    assert "1 held-out rows were left out because they look like copies" in notes
    assert "(labels.csv lines 14)" in notes
    assert (
        "1 pairs of rows of different patients look like copies of one scan and were kept: labels.csv lines 3 and 5"
        in notes
    )
    assert "MILLER" not in made.report.read_text() + made.result.read_text()


def test_validate_leaves_copies_of_training_scans_out(adapted, tmp_path):
    bundle, _, _ = adapted
    labels = write_cohort(tmp_path / "new", numbers=range(20, 28), split=lambda n: "test")
    as_image(cropped(picture(6), 5)).save(tmp_path / "new" / "22.png")
    as_image(as_levels((picture(9) / 65535) ** 0.8)).save(tmp_path / "new" / "25.png")
    result = validate(bundle, labels, Workspace(tmp_path / "ws").open(), tmp_path / "out", Watch())
    reason = "NEAR_DUPLICATE: looks like a copy of a scan from training"
    assert result.left_out == ((4, reason), (7, reason))
    assert result.metrics["n"] == 6
    assert (
        "2 rows look like copies of scans from training and were left out" in (result.out / "report.html").read_text()
    )


def test_validate_refuses_a_cohort_of_nothing_but_copies(adapted, tmp_path):
    bundle, _, _ = adapted
    labels = write_cohort(tmp_path / "new", numbers=range(20, 22), split=lambda n: "test")
    for n in (20, 21):
        as_image(cropped(picture(n - 20), 5)).save(tmp_path / "new" / f"{n}.png")
    with pytest.raises(LeakageError, match="every scan looks like a copy"):
        validate(bundle, labels, Workspace(tmp_path / "ws").open(), tmp_path / "out", Watch())
    assert not (tmp_path / "out").exists()


def test_a_bundle_from_before_says_that_copies_were_not_checked(radiograph_bundle, samples, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    result = validate(radiograph_bundle, labels, Workspace(tmp_path / "ws").open(), tmp_path / "out", Watch())
    assert "from before copies of scans were recognised" in (result.out / "report.html").read_text()


def test_score_warns_of_copies_and_resumes_with_the_warning(adapted, tmp_path):
    bundle, _, _ = adapted
    write_cohort(tmp_path / "new", numbers=range(30, 34))
    as_image(as_levels((picture(6) / 65535) ** 0.8)).save(tmp_path / "new" / "31.png")
    told = "1 of 4 scans look like copies of scans from the bundle's training"
    for _ in range(2):
        notes = []
        done = score_folder(tmp_path / "new", bundle, tmp_path / "out", device="cpu", watch=Watch(note=notes.append))
        assert done["notice"].startswith(told)
        assert any(note.startswith(told) for note in notes)


def test_score_of_other_scans_warns_of_nothing(adapted, tmp_path):
    bundle, _, _ = adapted
    write_cohort(tmp_path / "new", numbers=range(30, 34))
    assert score_folder(tmp_path / "new", bundle, tmp_path / "out", device="cpu")["notice"] == ""


def plan_of(folder, **cohort):
    workspace = Workspace(folder / "ws").open()
    config = CONFIG.model_copy(update=cohort.pop("config", {}))
    plan = make_plan(write_cohort(folder, **cohort), workspace, config, Watch())
    return prepared(plan, SampleStore(workspace.cache, plan.preparation), Watch())


def test_near_duplicates_list_keeps_and_tells(tmp_path):
    plan = plan_of(tmp_path, config={"near_duplicates": "list"})
    assert not plan.cohort.left_out
    assert "2 pairs of rows of different patients look like copies of one scan and were kept" in " ".join(
        plan.cohort.notes
    )


def test_where_too_few_are_left_the_error_says_why(tmp_path):
    with pytest.raises(CohortError, match="1 rows were left out as near-duplicates of scans of other patients"):
        plan_of(tmp_path, numbers=(0, 1, 2, 4, 5, 7, 12, 13), split=lambda n: "val" if n >= 12 else "train")


def case(line, split, *, patient=None, label="n", site=""):
    ref = SeriesRef("a", str(line), "ok", content=f"content {line}")
    return Case(ref, (label,) if label else (), patient or f"p{line}", True, split, (("site", site),), line)


def left(pairs, **options):
    cases = tuple({c.line: c for pair in pairs for c in pair}.values())
    cohort = Cohort(("n", "o"), cases, (), ())
    return leave_copies_out(cohort, pairs, target_sites=options.pop("sites", ()), keep=options.pop("keep", False))


def test_which_of_a_pair_goes():
    assert [line for line, _ in left([(case(2, "val"), case(3, "train"))]).left_out] == [2]
    assert not left([(case(2, "train"), case(3, "train"))]).left_out
    assert not left([(case(2, "val", patient="p"), case(3, "train", patient="p"))]).left_out
    target = left([(case(2, "train", site="b"), case(3, "train", site="a"))], sites=("b",))
    assert [line for line, _ in target.left_out] == [2]


def test_copies_with_different_labels_are_told():
    odd = (case(2, "train", patient="p", label="o"), case(9, "train", patient="p"))
    fine = (case(4, "train", label=""), case(5, "train"))
    notes = " ".join(left([odd, fine]).notes)
    assert "check the labels: 1 pairs of rows look like copies of one scan and are labelled differently" in notes
    assert "labelled differently: labels.csv lines 2 and 9" in notes


def test_of_many_pairs_the_first_are_listed():
    notes = left([(case(n, "train"), case(n + 100, "train")) for n in range(2, 32)]).notes
    assert notes[0].endswith("21 and 121 and 10 more")


def test_scans_without_detail_are_copies_of_nothing(tmp_path):
    plan = plan_of(tmp_path, numbers=(*range(3), *range(4, 8), *range(8, 12)))
    store = SampleStore(Workspace(tmp_path / "ws").cache, plan.preparation)
    for kept in plan.cohort.cases:
        np.save(store.path(kept.ref.key), np.zeros((1, 1, 64, 64), np.uint16))
    assert find_copies(plan.cohort.cases, store, Watch()) == []
    assert training_set(plan.cohort.cases, (), store).pictures.hashes == b""
