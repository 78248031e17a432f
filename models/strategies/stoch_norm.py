"""StochNorm: fine-tuning in which each channel's batch norm uses batch or moving statistics at random."""

from dataclasses import replace

from models.classifier import SliceBagClassifier
from models.strategies.lp_ft import lp_ft
from models.strategies.norms import require_batch_norm, statistics_phase
from models.strategies.phase import Phase


def stoch_norm(classifier: SliceBagClassifier) -> list[Phase]:
    """LP-FT with `models.stochastic_norm` in the fine-tuning; evaluation uses the moving statistics, as ever.

    Against over-fitting when labels are few. As in `lp_ft_bn`, batch norm takes the training scans' statistics before
    the probe; the paper keeps ImageNet's, which for grey scans lie so far from a batch's that the change undoes the
    probe.

    Raises:
        NoBatchNormError: If the backbone has no batch norm.

    Source:
        Kou et al. 2020, Stochastic Normalization.
    """
    require_batch_norm(classifier, "stoch_norm")
    *probe, fine_tune = lp_ft(classifier)
    return [statistics_phase(), *probe, replace(fine_tune, batch_norm="stochastic")]
