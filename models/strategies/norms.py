"""What strategies that train batch norm have in common."""

from models.alignment.adabn import batch_norms
from models.classifier import SliceBagClassifier
from models.errors import NoBatchNormError
from models.strategies.phase import Phase


def require_batch_norm(classifier: SliceBagClassifier, strategy: str) -> None:
    """Refuse a backbone that a strategy can do nothing for.

    Raises:
        NoBatchNormError: If it has no batch norm; the message names it and what would do.
    """
    if not batch_norms(classifier.backbone):
        raise NoBatchNormError(
            f"strategy {strategy}: {classifier.backbone.name} has no batch norm; take strategy lp_ft, or a backbone "
            "that has batch norm (densenet169, mobilenet_v2, resnet18)"
        )


def statistics_phase() -> Phase:
    """Batch norm takes the statistics of the training scans; no parameter changes."""
    return Phase(name="statistics", groups=(), objective="statistics")
