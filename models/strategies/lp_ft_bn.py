"""LP-FT whose batch norm takes up the statistics of the scans."""

from dataclasses import replace

from models.classifier import SliceBagClassifier
from models.strategies.lp_ft import lp_ft
from models.strategies.norms import require_batch_norm, statistics_phase
from models.strategies.phase import Phase


def lp_ft_bn(classifier: SliceBagClassifier) -> list[Phase]:
    """Batch norm takes the training scans' statistics, then LP-FT with batch statistics in the fine-tuning.

    ImageNet's statistics are those of colour photographs. They are replaced before the probe, so that its head fits
    the features that it meets when the fine-tuning starts: with the old ones, the change to batch statistics alone
    undoes the probe. Needs batches that look like the whole; with few scans in a step, or a few patients, `lp_ft` is
    safer.

    Raises:
        NoBatchNormError: If the backbone has no batch norm.

    Source:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features, as run without their `use_net_val_mode`.
    """
    require_batch_norm(classifier, "lp_ft_bn")
    *probe, fine_tune = lp_ft(classifier)
    return [statistics_phase(), *probe, replace(fine_tune, batch_norm="train")]
