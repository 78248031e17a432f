"""How many labelled scans to bring: to measure as closely as wanted, and to learn."""

from pipeline.shift.accuracy import ExpectedAccuracy
from pipeline.shift.domain import Domain
from pipeline.shift.learning_curve import learning_curve
from pipeline.shift.sample_size import (
    LabelsNeeded,
    for_accuracy,
    for_auroc,
    for_learning,
    from_learning_curve,
)

HALF_WIDTH = 0.05
ASSUMED_AUROC = 0.8
FEWEST = 20


def labels_needed(
    incoming: Domain,
    *,
    classes: int | None,
    accuracy: ExpectedAccuracy | None,
    seed: int,
    half_width: float = HALF_WIDTH,
) -> tuple[LabelsNeeded, ...]:
    """Labels of incoming scans for an accuracy and an AUROC to within 0.05, and to learn from.

    The accuracy expected is the estimate where one may be given, else the worst case of 0.5. The AUROC expected is
    0.8 with as many scans of the rarest class as the labels at hand show, else half. Learning follows the learning
    curve where there are labels enough, else the effective dimension of the features.

    Args:
        incoming: Scans to label; with truth where some are labelled.
        classes: L, or None where unknown; then 2.
        accuracy: What is expected on them.
        seed: Seed of the learning curve's subsets.
        half_width: Wanted half-width of the intervals.
    """
    expected = 0.5
    if accuracy is not None and accuracy.estimable and accuracy.atc_entropy.value is not None:
        expected = accuracy.atc_entropy.value
    share = 0.5 if incoming.truth is None else float(incoming.truth.mean(axis=0).min())
    return (
        for_accuracy(half_width, expected=expected),
        for_auroc(half_width, expected=ASSUMED_AUROC, positive_share=share),
        _to_learn(incoming, classes=classes or 2, seed=seed),
    )


def _to_learn(incoming: Domain, *, classes: int, seed: int) -> LabelsNeeded:
    if incoming.n < FEWEST:
        return LabelsNeeded("learning", None, f"{incoming.n} incoming scans, at least {FEWEST} show how they vary")
    if incoming.truth is not None and (incoming.truth.sum(axis=1) == 1).all():
        sizes, errors = learning_curve(incoming.features, incoming.truth, incoming.units, seed=seed)
        found = from_learning_curve(sizes, errors)
        if found.labels is not None:
            return found
    return for_learning(incoming.features, classes=classes)


__all__ = ["LabelsNeeded", "for_accuracy", "for_auroc", "for_learning", "from_learning_curve", "labels_needed"]
