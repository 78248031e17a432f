import numpy as np
import pytest
import torch

from models.bundle import SETTINGS, SUMS, open_bundle, write_bundle
from models.errors import BundleError
from pipeline.decide.card import HEADING
from pipeline.decide.conformal import conformal_scale
from pipeline.decide.decision_scores import TENSORS, decision_scores
from pipeline.decide.policy import parse_policy
from pipeline.decide.set_policy import CARD, set_policy
from pipeline.errors import PolicyError
from pipeline.evaluate.thresholds import threshold_at_sensitivity
from pipeline.model_record import read_record

CARD_TEXT = f"# Model card\n\nTop.\n\n{HEADING}\n\nA scan is called at 0.5.\n- old line\n\n## Risks\n\nMany.\n"


def parent(new_bundle, folder, *, card=CARD_TEXT, task="multiclass"):
    """A bundle with 60 normal and 30 abnormal held-out scans."""
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.beta(2, 5, 60), rng.beta(5, 2, 30)])
    side = np.repeat([0, 1], [60, 30])
    more = {}
    if task != "one_class":
        more = {"probability": np.stack([1 - score, score], 1), "truth": np.stack([1 - side, side], 1)}
    scores = decision_scores(score, side, [str(n) for n in range(90)], seed=0, **more)
    made = open_bundle(new_bundle(folder / "made", task=task))
    names = [line.partition("  ")[2] for line in made.text(SUMS).splitlines()]
    return write_bundle(
        folder / "parent",
        {CARD: card},
        {TENSORS: scores.tensors()},
        {name: made.folder / name for name in names},
    )


@pytest.fixture(scope="module")
def bundle(new_bundle, tmp_path_factory):
    return parent(new_bundle, tmp_path_factory.mktemp("parent"))


def test_the_new_bundle_has_the_same_weights_and_names_its_parent(bundle, tmp_path):
    made = set_policy(bundle.folder, tmp_path / "new", parse_policy("false_alarm=0.1"))
    new = open_bundle(tmp_path / "new")
    assert new.digest == made.bundle.digest != bundle.digest
    assert open_bundle(bundle.folder).digest == bundle.digest
    record, before = read_record(new), read_record(bundle)
    assert record == made.record
    assert record.parent == bundle.digest
    for line in bundle.text(SUMS).splitlines():
        same = (new.folder / line[66:]).read_bytes() == (bundle.folder / line[66:]).read_bytes()
        assert same == (line[66:] not in (SETTINGS, CARD))
    kept = {"policy", "parent", "created", "anomaly_threshold", "thresholds"}
    assert record.model_dump(exclude=kept) == before.model_dump(exclude=kept)


def test_its_thresholds_are_those_of_the_policy(bundle, tmp_path):
    score, side = (bundle.tensors(TENSORS)[name].numpy() for name in ("score", "side"))
    record = set_policy(bundle.folder, tmp_path / "a", parse_policy("false_alarm=0.1")).record
    assert record.anomaly_threshold == np.nextafter(np.sort(score[side == 0])[-6], 2)  # 6 = floor(0.1 * 61)
    assert record.thresholds["opacity"] == threshold_at_sensitivity(score, side == 1, 0.95)
    record = set_policy(bundle.folder, tmp_path / "b", parse_policy("sensitivity=0.5")).record
    assert record.anomaly_threshold == record.thresholds["opacity"] == threshold_at_sensitivity(score, side == 1, 0.5)
    assert record.thresholds["normal"] == threshold_at_sensitivity(1 - score, side == 0, 0.5)


def test_a_policy_changed_twice_is_the_same_as_once(bundle, tmp_path):
    rule = parse_policy("capacity=3/20")
    set_policy(bundle.folder, tmp_path / "a", parse_policy("cost=3@0.2"))
    twice = set_policy(tmp_path / "a", tmp_path / "b", rule).record
    once = set_policy(bundle.folder, tmp_path / "c", rule).record
    assert twice.policy == once.policy
    assert twice.anomaly_threshold == once.anomaly_threshold
    assert twice.parent == open_bundle(tmp_path / "a").digest


def test_one_class_bundles_decide_on_raw_scores(new_bundle, tmp_path):
    bundle = parent(new_bundle, tmp_path, task="one_class")
    record = set_policy(bundle.folder, tmp_path / "new", parse_policy("sensitivity=0.9")).record
    score, side = (bundle.tensors(TENSORS)[name].numpy() for name in ("score", "side"))
    assert record.policy.raw_threshold == threshold_at_sensitivity(score, side == 1, 0.9)
    scale = conformal_scale(score[side == 0], range(60))
    assert record.anomaly_threshold == scale.score01(record.policy.raw_threshold)
    assert set(record.thresholds.values()) == {record.anomaly_threshold}


def test_the_model_card_follows(bundle, tmp_path):
    made = set_policy(bundle.folder, tmp_path / "new", parse_policy("false_alarm=0.1"))
    card = made.bundle.text(CARD)
    assert card.startswith("# Model card\n\nTop.\n\n" + HEADING)
    assert card.endswith("## Risks\n\nMany.\n")
    assert "old line" not in card
    assert "policy false_alarm=0.1" in card
    assert bundle.digest[:12] in card
    again = set_policy(tmp_path / "new", tmp_path / "newer", parse_policy("sensitivity=0.9")).bundle.text(CARD)
    assert "false_alarm=0.1" not in again
    assert again.count(HEADING) == 1
    assert again.endswith("## Risks\n\nMany.\n")


def test_a_card_without_the_section_gets_it(new_bundle, tmp_path):
    bundle = parent(new_bundle, tmp_path, card="# Card\n")
    card = set_policy(bundle.folder, tmp_path / "new", parse_policy("false_alarm=0.1")).bundle.text(CARD)
    assert card.startswith(f"# Card\n\n{HEADING}\n\nA scan is called `anomaly`")


def test_nothing_is_written_over(bundle, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (tmp_path / "there", tmp_path / "link", bundle.folder):
        with pytest.raises(BundleError, match="is there already"):
            set_policy(bundle.folder, target, parse_policy("false_alarm=0.1"))
    with pytest.raises(BundleError, match="lies in the bundle"):
        set_policy(bundle.folder, bundle.folder / "new", parse_policy("false_alarm=0.1"))


def test_a_bundle_from_before_and_one_with_too_few_normals_are_refused(bundle, radiograph_bundle, tmp_path):
    with pytest.raises(PolicyError, match="adapt again"):
        set_policy(radiograph_bundle, tmp_path / "new", parse_policy("false_alarm=0.1"))
    with pytest.raises(PolicyError, match="at least 99"):
        set_policy(bundle.folder, tmp_path / "new", parse_policy("false_alarm=0.01"))
    assert not (tmp_path / "new").exists()


def test_an_altered_parent_is_refused(bundle, tmp_path):
    names = [line[66:] for line in bundle.text(SUMS).splitlines()]
    spoilt = write_bundle(tmp_path / "spoilt", {}, {}, {name: bundle.folder / name for name in names})
    torch.save({"score": torch.zeros(1)}, spoilt.folder / TENSORS)
    with pytest.raises(BundleError, match="altered"):
        set_policy(spoilt.folder, tmp_path / "new", parse_policy("false_alarm=0.1"))
