"""Transferability scores: how well a pretrained network might suit a task, guessed without training.

They are information, not judge. Chaves et al. 2023 found over medical tasks that "no transferability score can
reliably and consistently estimate target performance in medical contexts": between architectures the rank
correlation with what fine-tuning then reached lay near zero and changed its sign from one data set to the next.
They describe how a linear model would fit these very features, not how it does on patients it has not seen, and
they grow with what the networks differ in anyway, such as the number of features. So a cross-validated probe
decides, and these stand beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.transferability.h_score import h_score, regularised_h_score
from models.transferability.leep import leep
from models.transferability.logme import logme


@dataclass(frozen=True, slots=True)
class Score:
    """One transferability score; higher promises more.

    Attributes:
        function: Takes a matrix (n, D) and label indicators (n, L).
        of: What the matrix holds: pooled features, or probabilities of the classes of the source task.
    """

    function: Callable[[Tensor, Tensor], float]
    of: Literal["features", "source probabilities"]


TRANSFERABILITY: dict[str, Score] = {
    "logme": Score(logme, "features"),  # You et al. 2021
    "h_score": Score(h_score, "features"),  # Bao et al. 2019
    "h_score_regularised": Score(regularised_h_score, "features"),  # Ibrahim et al. 2021
    "leep": Score(leep, "source probabilities"),  # Nguyen et al. 2020
}
