"""When alignment must not or should not be done: checked before it, refused in words or recorded as a warning."""

from collections.abc import Mapping
from typing import Protocol

from models.alignment import ALIGNMENTS
from models.alignment.adabn import require_batch_norm
from models.classifier import SliceBagClassifier
from models.registry import lookup
from pipeline.config import Task
from pipeline.errors import CohortError, ConfigError, RefusedError

LEAST_TARGETS = 20
MATCHES_MARGINALS = ("coral", "dan", "dann")


class PrevalenceShift(Protocol):
    """What is known of the target's class mix; `pipeline.shift.label_shift.LabelShift` is one."""

    @property
    def detected(self) -> bool:
        """Whether the class mix differs beyond chance."""


def check_alignment(name: str, classifier: SliceBagClassifier, *, targets: int, task: Task) -> tuple[str, ...]:
    """Check what can be known before any work.

    Args:
        name: From `models.alignment.ALIGNMENTS`.
        classifier: The network that is to be aligned.
        targets: Number of unlabelled target scans.
        task: Of the configuration.

    Returns:
        Warnings for the report.

    Raises:
        UnknownNameError: If there is no such alignment.
        CohortError: With fewer than 20 target scans.
        NoBatchNormError: For AdaBN on a backbone without batch norm.
        ConfigError: For MCC in a task that has no softmax.
    """
    lookup("alignment", ALIGNMENTS, name)
    if targets < LEAST_TARGETS:
        raise CohortError(
            f"align={name}: {targets} target scans, needed are at least {LEAST_TARGETS}; add unlabelled rows of "
            "target_sites to labels.csv, or set align=none"
        )
    if name == "adabn":
        require_batch_norm(classifier.backbone, classifier.backbone.name)
    if name == "mcc" and task != "multiclass":
        raise ConfigError(f"align=mcc: needs task multiclass, found {task}; take coral or dan")
    if name == "mcc" and classifier.head.out_features == 2:
        return (
            "alignment mcc: with two classes it only asks for confident predictions and may push a rare class out; "
            "it is made for about five classes or more",
        )
    return ()


def check_label_shift(name: str, prevalence: PrevalenceShift | None, *, covariate: bool) -> tuple[str, ...]:
    """Check alignment against the kind of shift that was found.

    Losses that make the marginal distributions of features alike must, where the class mix differs, put some scans
    of one class where the other lies (Zhao et al. 2019, On Learning Invariant Representations for Domain
    Adaptation: the lower bound on the joint error).

    Args:
        name: From `models.alignment.ALIGNMENTS`.
        prevalence: The finding on the class mix; None where it could not be tested.
        covariate: Whether a shift of the images themselves was found as well.

    Returns:
        Warnings for the report.

    Raises:
        RefusedError: If the class mix shifts, the images do not, and the method would align the one to the other.
    """
    if prevalence is None:
        return (f"alignment {name}: whether the target's class mix differs could not be tested; if it does, it harms",)
    if not prevalence.detected:
        return ()
    if name in MATCHES_MARGINALS and not covariate:
        raise RefusedError(
            f"align={name}: the target's class mix differs and its images do not; making the features alike would "
            "mix up the classes. Set align=none and recalibrate for the target's prevalence, which strategy=auto tries"
        )
    return (f"alignment {name}: the target's class mix differs, and {HARM[name]}; compare with align=none",)


HARM: Mapping[str, str] = {
    "coral": "equal covariances of features are wrong for unequal classes",
    "dan": "equal distributions of features are wrong for unequal classes",
    "dann": "equal distributions of features are wrong for unequal classes",
    "mcc": "confident predictions may push a class out that is rare there",
    "adabn": "batch statistics of another class mix move the decision",
    "feature_statistics": "statistics of another class mix move the decision",
}
