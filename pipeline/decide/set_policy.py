"""Another policy for a bundle, without training: a new bundle with the same weights that names its parent."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.bundle import SETTINGS, SUMS, Bundle, open_bundle, write_bundle
from models.errors import BundleError
from pipeline.card.facts import read_facts
from pipeline.card.render import CARD, bundle_texts
from pipeline.card.restate import restate
from pipeline.decide.card import with_decision
from pipeline.decide.choose import choose
from pipeline.decide.decision_scores import UNLABELLED, DecisionScores, read_decision_scores
from pipeline.decide.policy import Policy
from pipeline.evaluate.thresholds import class_thresholds
from pipeline.model_record import ModelRecord, read_record


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What changing a policy made.

    Attributes:
        bundle: The new bundle.
        before, record: What the parent and the new bundle say of themselves.
    """

    bundle: Bundle
    before: ModelRecord
    record: ModelRecord


def set_policy(parent: Path, target: Path, rule: Policy) -> PolicyChange:
    """Write a new bundle with another policy, its threshold chosen on the held-out scores that the parent keeps.

    Args:
        parent: Folder of a bundle; it stays as it is.
        target: Folder of the new one, which must not be there.
        rule: The policy.

    Raises:
        BundleError: If the parent is incomplete or altered, or something lies at `target`, or it lies in the parent.
        PolicyError: If the parent keeps no scores, or they are not enough for the policy.
    """
    if target.exists() or target.is_symlink():
        raise BundleError(f"{target}: is there already; another policy makes another bundle, name a new folder")
    if target.resolve().is_relative_to(parent.resolve()):
        raise BundleError(f"{target}: lies in the bundle it would be made from, which is never edited in place")
    bundle = open_bundle(parent)
    before = read_record(bundle)
    one_class = before.task == "one_class"
    scores = read_decision_scores(bundle, labels=len(before.classes), one_class=one_class)
    choice = choose(rule, scores, measured_on=before.policy.measured_on, raw=one_class)
    record = before.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "parent": bundle.digest,
            "policy": choice.record,
            "anomaly_threshold": choice.threshold,
            "thresholds": _class_thresholds(before, scores, rule, choice.threshold),
        }
    )
    return PolicyChange(_write(bundle, target, record, scores), before, record)


def _class_thresholds(record: ModelRecord, scores: DecisionScores, rule: Policy, threshold: float) -> dict[str, float]:
    if record.task == "one_class":  # one row, whose score is the anomaly score
        return dict.fromkeys(record.thresholds, threshold)
    if scores.probability is None or scores.truth is None:
        return record.thresholds
    labelled = scores.side != UNLABELLED
    target = rule.class_sensitivity(record.config.sensitivity_target)
    return class_thresholds(record.classes, scores.probability[labelled], scores.truth[labelled], target)


def _write(bundle: Bundle, target: Path, record: ModelRecord, scores: DecisionScores) -> Bundle:
    names = [line.partition("  ")[2] for line in bundle.text(SUMS).splitlines()]
    facts = read_facts(bundle)
    texts = {SETTINGS: record.to_yaml()}
    if facts is not None:
        change = f"policy {record.policy.rule.text}; weights of bundle {record.parent[:12]}"
        texts |= bundle_texts(record, restate(facts, record, scores, change))
    elif CARD in names:
        texts[CARD] = with_decision(bundle.text(CARD), record)
    return write_bundle(target, texts, {}, {name: bundle.folder / name for name in names if name not in texts})
