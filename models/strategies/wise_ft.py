"""WiSE-FT: halfway between the probe and the fine-tuned network."""

from dataclasses import replace

from models.classifier import SliceBagClassifier
from models.strategies.lp_ft import lp_ft
from models.strategies.phase import Phase

SHARE = 0.5


def wise_ft(classifier: SliceBagClassifier) -> list[Phase]:
    """LP-FT, whose weights are then averaged with the probe's: theta = (1 - a) theta_probe + a theta_ft, a = 0.5.

    The paper's start is a zero-shot model; an ImageNet CNN predicts nothing of the kind, so the probe is the end that
    predicts by itself. Fine-tuning leaves batch-norm statistics as they were, both ends share them, and so they stay:
    there they are constants of the network and not of its weights. The average is the result even where the
    fine-tuned end validates better, since what it gains shows on other sites than the validation set's.

    Source:
        Wortsman et al. 2022, Robust fine-tuning of zero-shot models.
    """
    *probe, fine_tune = lp_ft(classifier)
    return [*probe, replace(fine_tune, merge="interpolate", merge_share=SHARE)]
