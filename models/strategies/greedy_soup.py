"""Greedy soup: several fine-tunings from one probe, their weights averaged as long as that helps."""

from models.classifier import SliceBagClassifier
from models.strategies.linear_probe import linear_probe
from models.strategies.phase import Phase, group_names

BACKBONE_RATES = (0.1, 0.3, 0.03, 0.1)


def greedy_soup(classifier: SliceBagClassifier) -> list[Phase]:
    """The probe's phases, then four fine-tunings that each start from the probe, with rates and seeds of their own.

    A run joins the soup, the plain average of the runs in it, if the soup with it validates no worse than the soup
    without it and than the run alone; if the run alone is best, it takes the soup's place. So the result never
    validates worse than the best run. The paper sorts the runs by validation first; here they are tried as they end,
    which needs two states in memory however many runs there are. Batch norm trains, and its statistics are
    recomputed on training scans for each average, as it has activations that none of the runs had.

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
    return [*linear_probe(classifier), *runs]
