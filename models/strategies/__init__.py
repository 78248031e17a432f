"""Fine-tuning strategies: functions from a classifier to the phases of its training, one file each."""

from models.strategies.auto_rgn import auto_rgn
from models.strategies.continued_pretraining import continued_pretraining
from models.strategies.freeze_early import freeze_early
from models.strategies.from_scratch import from_scratch
from models.strategies.full import full
from models.strategies.gradual_unfreeze import gradual_unfreeze
from models.strategies.greedy_soup import greedy_soup
from models.strategies.l2_sp import l2_sp
from models.strategies.linear_probe import linear_probe
from models.strategies.lp_ft import lp_ft
from models.strategies.lp_ft_bn import lp_ft_bn
from models.strategies.phase import Strategy
from models.strategies.stoch_norm import stoch_norm
from models.strategies.surgical import surgical_first, surgical_last, surgical_middle
from models.strategies.wise_ft import wise_ft

STRATEGIES: dict[str, Strategy] = {
    "linear_probe": linear_probe,  # Alain & Bengio 2016
    "lp_ft": lp_ft,  # Kumar et al. 2022
    "full": full,
    "freeze_early": freeze_early,  # Yosinski et al. 2014
    "gradual_unfreeze": gradual_unfreeze,  # Howard & Ruder 2018
    "surgical_first": surgical_first,  # Lee et al. 2023
    "surgical_middle": surgical_middle,
    "surgical_last": surgical_last,
    "auto_rgn": auto_rgn,  # Lee et al. 2023
    "l2_sp": l2_sp,  # Li et al. 2018
    "wise_ft": wise_ft,  # Wortsman et al. 2022
    "greedy_soup": greedy_soup,  # Wortsman et al. 2022
    "lp_ft_bn": lp_ft_bn,  # Kumar et al. 2022
    "stoch_norm": stoch_norm,  # Kou et al. 2020
    "continued_pretraining": continued_pretraining,  # Reed et al. 2022, by SimSiam
    "from_scratch": from_scratch,  # the comparison
}
