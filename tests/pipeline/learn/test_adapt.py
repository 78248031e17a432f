"""From a labels.csv to a bundle, end to end, with a tiny network and untrained weights."""

import json
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from monai.bundle import verify_metadata
from PIL import Image

from models.bundle import SETTINGS, open_bundle
from models.errors import BundleError, UnknownNameError
from pipeline.config import Config, load_config
from pipeline.decide.policy import parse_policy
from pipeline.decide.set_policy import set_policy
from pipeline.errors import CohortError, ConfigError
from pipeline.learn.adapt import adapt
from pipeline.learn.features import backbone_digest
from pipeline.learn.leakage import FILE as TRAINING_SET
from pipeline.learn.leakage import parse_training_set
from pipeline.learn.plan import describe, make_plan
from pipeline.model_record import load_classifier, read_record
from pipeline.watch import Watch
from pipeline.workspace import Workspace

CONFIG = Config(
    backbone="squeezenet1_1", weights="none", image_size=64, epochs=1, batch_size=8, seed=3, precision="float32"
)


def write_cohort(folder, *, count=24, black=()):
    """Pictures of noise, every second with a bright square; patients are called MILLER."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,site,split"]
    for n in range(count):
        pixels = rng.integers(0, 90, (70, 80), np.uint8)
        pixels[20:50, 20:50] += np.uint8(120 * (n % 2))
        Image.fromarray(pixels * (n not in black)).save(folder / f"{n}.png")
        split = "test" if n >= 20 else "val" if n >= 14 else "train"
        lines.append(f"{n}.png,{('normal', 'opacity')[n % 2]},MILLER{n},{'north' if n % 3 else 'south'},{split}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """One adaptation, looked at by many tests."""
    folder = tmp_path_factory.mktemp("adapt")
    labels = write_cohort(folder, black=(2,))
    workspace = Workspace(folder / "ws").open()
    plan = make_plan(labels, workspace, CONFIG, Watch())
    notes = []
    result = adapt(plan, workspace, folder / "bundle", workspace.run_folder("adapt"), Watch(note=notes.append))
    return folder, plan, result, notes


def test_the_bundle_opens_and_its_network_and_settings_load(adapted):
    _, plan, result, _ = adapted
    bundle = open_bundle(result.bundle)
    assert bundle.digest == result.digest
    record = read_record(bundle)
    assert record.config == plan.config
    assert record.classes == ("normal", "opacity")
    assert record.preparation == plan.preparation
    classifier = load_classifier(bundle, record)
    assert not classifier.training
    here, there = classifier.state_dict(), plan.classifier.state_dict()
    assert all(torch.equal(here[key], there[key]) for key in there)
    assert record.temperature > 0
    assert 0 <= record.anomaly_threshold <= 1
    assert set(record.thresholds) == {"normal", "opacity"}


def test_the_bundle_keeps_the_scores_that_its_thresholds_were_chosen_on(adapted, tmp_path):
    _, _, result, notes = adapted
    record = read_record(open_bundle(result.bundle))
    assert record.policy.rule.text == "sensitivity=0.95"
    assert record.policy.chosen_on == "3 abnormal scans of 3 patients among the validation rows"
    again = set_policy(result.bundle, tmp_path / "again", record.policy.rule).record
    assert (again.policy, again.anomaly_threshold) == (record.policy, record.anomaly_threshold)
    assert again.thresholds == record.thresholds
    other = set_policy(result.bundle, tmp_path / "other", parse_policy("false_alarm=0.5")).record
    assert other.anomaly_threshold < record.anomaly_threshold
    assert json.loads(result.result.read_text())["policy"]["rule"] == "sensitivity=0.95"
    assert any("3 abnormal patients are too few" in note for note in notes)
    card = (result.bundle / "docs/README.md").read_text()
    assert "## Decision" in card
    assert "policy sensitivity=0.95" in card


def test_the_metadata_passes_monais_check_with_its_own_schema(adapted):
    """verify_metadata takes the schema that lies there instead of downloading one."""
    bundle = adapted[2].bundle
    verify_metadata(meta_file=str(bundle / "configs/metadata.json"), filepath=str(bundle / "configs/schema.json"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.pop("monai_version"),
        lambda m: m.update(task=""),
        lambda m: m["network_data_format"]["inputs"]["image"].pop("dtype"),
        lambda m: m["network_data_format"]["outputs"]["pred"].update(num_channels=0),
    ],
)
def test_the_schema_is_one_that_something_can_fail(adapted, tmp_path, spoil):
    bundle = adapted[2].bundle
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    spoil(metadata)
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(bundle / "configs/schema.json"))


def test_metadata_states_what_the_network_takes_and_gives(adapted):
    metadata = json.loads((adapted[2].bundle / "configs/metadata.json").read_text())
    given = metadata["network_data_format"]
    assert given["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert given["outputs"]["pred"]["channel_def"] == {"0": "normal", "1": "opacity"}
    assert metadata["pytorch_version"] == version("torch")


def test_what_cannot_be_prepared_is_left_out_and_listed(adapted):
    result = adapted[2]
    assert result.left_out == 1
    record = json.loads(result.result.read_text())
    assert [entry["reason"].partition(":")[0] for entry in record["left_out"]] == ["NO_CONTRAST"]
    assert record["training"]["train"] == {"normal": 6, "opacity": 7, "patients": 13}
    assert record["training"]["test"] == {"normal": 2, "opacity": 2, "patients": 4}
    assert record["validation"]["n"] == 6
    assert 0 <= result.val_auroc <= 1
    assert "so the figure flatters" in record["verdict"]


def test_the_bundle_knows_who_was_in_training_and_test_rows_were_not(adapted):
    _, plan, result, _ = adapted
    seen = parse_training_set(open_bundle(result.bundle).text(TRAINING_SET))
    assert len(seen.patients) == 19
    for case in plan.cohort.cases:
        if case.ref.source != "2.png":
            assert seen.saw(case) is (case.split != "test")


def test_no_identity_leaves_the_users_own_files(adapted):
    folder, _, result, notes = adapted
    places = [p for top in (result.bundle, result.report.parent) for p in top.rglob("*") if p.is_file()]
    assert {"report.html", "result.json", "config.yaml", "environment.txt"} <= {p.name for p in places}
    for text in [*(p.read_bytes() for p in places), "\n".join(notes).encode()]:
        assert b"MILLER" not in text
        assert str(folder).encode() not in text


def test_the_run_folder_holds_the_configuration_that_ran(adapted):
    _, plan, result, _ = adapted
    assert load_config(result.report.parent / "config.yaml") == plan.config


def test_the_checkpoint_is_gone_once_the_run_has_ended(adapted):
    assert not list((adapted[0] / "ws" / "cache" / "training").glob("*"))


def test_the_random_reference_can_be_made_again(adapted):
    reference = read_record(open_bundle(adapted[2].bundle)).random_reference
    again = make_plan(adapted[0] / "labels.csv", Workspace(adapted[0] / "ws"), CONFIG, Watch())
    assert backbone_digest(again.classifier) == reference.checksum


def test_the_same_data_and_seed_give_the_same_network(adapted, tmp_path):
    folder, _, result, _ = adapted
    workspace = Workspace(tmp_path / "ws").open()
    plan = make_plan(folder / "labels.csv", workspace, CONFIG, Watch())
    again = adapt(plan, workspace, tmp_path / "bundle", workspace.run_folder("adapt"), Watch())
    one, other = open_bundle(result.bundle).tensors(), open_bundle(again.bundle).tensors()
    assert all(torch.equal(one[key], other[key]) for key in one)
    old, new = (read_record(open_bundle(r.bundle)) for r in (result, again))
    assert old.model_copy(update={"created": new.created}) == new


def test_a_target_that_holds_something_else_is_refused_before_any_work(adapted, tmp_path):
    folder, plan, _, _ = adapted
    (tmp_path / "thesis.txt").write_text("x")
    workspace = Workspace(folder / "ws")
    with pytest.raises(BundleError, match="choose another folder"):
        adapt(plan, workspace, tmp_path, folder / "no run", Watch())
    assert not (folder / "no run").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_plan_describes_itself_without_identity(adapted):
    told = describe(make_plan(adapted[0] / "labels.csv", Workspace(adapted[0] / "ws"), CONFIG, Watch()))
    assert told["classes"] == "normal, opacity"
    assert told["weights"] == "random"
    assert told["scans"]["train"]["patients"] == 14
    assert "MILLER" not in str(told)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"strategy": "lpft"}, UnknownNameError, "unknown strategy 'lpft'; did you mean lp_ft"),
        ({"backbone": "resnet"}, UnknownNameError, "unknown backbone"),
        ({"backbone": "inception_v3", "image_size": 64}, ConfigError, "inception_v3 needs at least 75"),
        ({"task": "one_class", "detector": "padam"}, UnknownNameError, "unknown detector 'padam'; did you mean padim"),
        ({"task": "one_class", "align": "coral"}, ConfigError, "align=coral works on a classifier"),
        ({"task": "one_class", "backbone": "auto"}, ConfigError, "for one_class name one"),
        ({"classes": ("normal", "opacity", "effusion")}, CohortError, "class 'effusion' has no row"),
    ],
)
def test_what_would_fail_later_is_refused_by_the_plan(adapted, change, error, words):
    folder = adapted[0]
    config = CONFIG.model_copy(update=change)
    with pytest.raises(error, match=words):
        make_plan(folder / "labels.csv", Workspace(folder / "ws"), config, Watch())


def test_the_digest_of_a_plan_hangs_on_what_decides_the_training(adapted):
    _, plan, _, _ = adapted
    others = [
        replace(plan, config=plan.config.model_copy(update={"seed": 9})),
        replace(plan, weights={"origin": "file", "sha256": "00"}),
        replace(plan, cohort=replace(plan.cohort, cases=plan.cohort.cases[1:])),
        replace(plan, preparation=plan.preparation.model_copy(update={"image_size": 96})),
    ]
    assert len({plan.digest(), *(other.digest() for other in others)}) == 5
    assert replace(plan, device=torch.device("cpu")).digest() == plan.digest()


def test_settings_of_another_format_are_refused_with_what_to_do(adapted, tmp_path):
    bundle = open_bundle(adapted[2].bundle)
    later = bundle.text(SETTINGS).replace("format: 1", "format: 99", 1)
    (tmp_path / "configs").mkdir()
    (tmp_path / SETTINGS).write_text(later)
    with pytest.raises(BundleError, match="bundle format 99, this version reads 1; adapt again to convert"):
        read_record(replace(bundle, folder=tmp_path))
