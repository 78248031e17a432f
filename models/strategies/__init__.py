"""Fine-tuning strategies: functions from a classifier to the phases of its training, one file each."""

from models.strategies.freeze_early import freeze_early
from models.strategies.from_scratch import from_scratch
from models.strategies.full import full
from models.strategies.linear_probe import linear_probe
from models.strategies.lp_ft import lp_ft
from models.strategies.phase import Strategy

STRATEGIES: dict[str, Strategy] = {
    "linear_probe": linear_probe,  # Alain & Bengio 2016
    "lp_ft": lp_ft,  # Kumar et al. 2022
    "full": full,
    "freeze_early": freeze_early,  # Yosinski et al. 2014
    "from_scratch": from_scratch,  # the comparison
}
