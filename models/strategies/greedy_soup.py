"""Greedy soup: several fine-tunings from one probe, their weights averaged as long as that helps."""

from models.alignment.adabn import batch_norms
from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.norms import statistics_phase
from models.strategies.phase import Phase, group_names

BACKBONE_RATES = (0.1, 0.3, 0.03, 0.1)


def greedy_soup(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then four fine-tunings that each start from the probe, with rates and seeds of their own.

    The soup is the plain average of what is in it, at first the probe alone. A run joins if the soup with it
    validates no worse than the soup without it and than the run alone; if the run alone is best, it takes the soup's
    place. So the result never validates worse than the probe or the best run. The paper sorts the runs by validation
    first; here they are tried as they end, which needs two states however many runs there are. Batch norm, if there
    is any, takes the training scans' statistics before the probe (see `lp_ft_bn`), trains, and its statistics are
    recomputed on training scans for each average, which has activations that none of the runs had.

    Source:
        Wortsman et al. 2022, Model soups: averaging weights of multiple fine-tuned models, recipe 1.
    """
    names = group_names(classifier)
    backbone = names[: len(names) - len(classifier.top_groups())]
    runs = [
        Phase(
            name=f"soup {n}",
            groups=names,
            rates=dict.fromkeys(backbone, rate),
            batch_norm="train",
            start="probe",
            merge="soup",
        )
        for n, rate in enumerate(BACKBONE_RATES, start=1)
    ]
    statistics = [statistics_phase()] if batch_norms(classifier.backbone) else []
    return [*statistics, *linear_probe(classifier), *runs]
