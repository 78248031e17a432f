"""Continued pretraining: the backbone sees the archive's own scans, without labels, before labels are used."""

from models.classifier import SliceBagClassifier
from models.strategies.lp_ft import lp_ft
from models.strategies.phase import Phase, backbone_groups


def continued_pretraining(classifier: SliceBagClassifier) -> list[Phase]:
    """A self-supervised phase over the backbone, then the phases of LP-FT: probe, fine-tuning.

    It learns from the unlabelled scans of the target sites, or from the training scans where there are none. Batch
    norm learns the statistics of the new scans on the way; it is frozen again afterwards.

    Source:
        Reed et al. 2022, Self-Supervised Pretraining Improves Self-Supervised Pretraining (from generic to target
        images, each start from the last); Azizi et al. 2021, Big Self-Supervised Models Advance Medical Image
        Classification. The objective: Chen & He 2021, SimSiam.
    """
    first = Phase(
        name="self-supervised",
        groups=backbone_groups(classifier),
        objective="self_supervised",
        batch_norm="train",
    )
    return [first, *lp_ft(classifier)]
