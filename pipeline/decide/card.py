"""The section of a model card that says when a scan is called abnormal, so that it follows the policy."""

import re

from pipeline.card.markdown import plain
from pipeline.model_record import ModelRecord

HEADING = "## Decision"
OF_PARENT = "- thresholds, sensitivity and specificity by class elsewhere in this card are those of the parent"
REFERRED = "- a scan whose header states what those of training did not gets the decision `refer`"
SCORES = {
    "multiclass": "1 - calibrated probability of the normal class",
    "multilabel": "1 - calibrated probability of no finding",
    "one_class": "rank of the detector's raw score among held-out normal scans",
}


def decision_section(record: ModelRecord) -> str:
    """The section in Markdown, without identity; it ends before the next heading."""
    lines = [
        f"A scan is called `anomaly` when its anomaly score ({SCORES[record.task]}) is at least "
        f"{record.anomaly_threshold:.4f}.",
        *(f"- {plain(line)}" for line in record.policy.lines),
    ]
    if record.parent:
        lines.append(f"- the weights are those of bundle `{record.parent[:12]}`, under another policy")
    if record.policy.achieved:
        lines.append("- these scans chose the threshold, so the figures flatter")
    lines += [f"- {plain(line)}" for line in (record.sets.lines if record.sets else ())]
    lines += [REFERRED] if record.headers else []
    return f"{HEADING}\n\n" + "\n".join([lines[0], "", *lines[1:]]) + "\n"


def with_decision(card: str, record: ModelRecord) -> str:
    """A model card from before cards could be written again: its section on the decision is that of another record.

    The section is put at the end where there is none.
    """
    section = f"{decision_section(record)}{OF_PARENT}\n"
    found = re.search(rf"^{HEADING}$.*?(?=^## |\Z)", card, flags=re.MULTILINE | re.DOTALL)
    if not found:
        return f"{card.rstrip()}\n\n{section}"
    return f"{card[: found.start()]}{section}\n{card[found.end() :]}".rstrip() + "\n"
