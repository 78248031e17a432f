"""LEEP: how well labels can be told from what the source head says."""

import torch
from torch import Tensor

from models.errors import ScoreInputError
from models.transferability.labels import check_rows, partitions


def leep(probabilities: Tensor, targets: Tensor) -> float:
    """Mean log likelihood of the labels through the source classes.

    With t_iz the source head's probability of source class z for row i:

        P(y, z) = 1/n sum_{i: y_i = y} t_iz,  P(y | z) = P(y, z) / sum_y P(y, z),
        LEEP = 1/n sum_i log sum_z P(y_i | z) t_iz.

    Args:
        probabilities: Of the source task's classes, shape (n, Z), rows sum to one.
        targets: Indicators (n, L). Where rows have several labels or none: the mean over the labels of LEEP for
            having it or not, labels that all or no rows have left out.

    Returns:
        At most 0.

    Raises:
        ScoreInputError: If the rows are no probabilities, shapes do not fit, or no label divides the rows.

    Source:
        Nguyen et al. 2020, LEEP: A New Measure to Evaluate Transferability of Learned Representations, eq. 1-2.
    """
    probabilities, targets = check_rows(probabilities, targets)
    if bool((probabilities < 0).any()) or not torch.allclose(
        probabilities.sum(dim=1), torch.ones(len(probabilities), dtype=torch.float64), atol=1e-3
    ):
        raise ScoreInputError("rows of source probabilities must be >= 0 and sum to 1")
    values = [_leep(probabilities, labels) for labels in partitions(targets)]
    return sum(values) / len(values)


def _leep(probabilities: Tensor, labels: Tensor) -> float:
    indicators = torch.nn.functional.one_hot(labels).double()
    joint = indicators.T @ probabilities / len(labels)
    conditional = joint / joint.sum(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    expected = (probabilities @ conditional.T).gather(1, labels[:, None])
    return float(torch.log(expected).mean())
