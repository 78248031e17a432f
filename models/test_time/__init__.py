"""Adaptation on unlabelled scans after training, one method a file; never on by default."""

from models.test_time.adapter import MakeAdapter
from models.test_time.sar import Sar
from models.test_time.tent import Tent

TEST_TIME: dict[str, MakeAdapter] = {
    "tent": Tent,  # Wang et al. 2021
    "sar": Sar,  # Niu et al. 2023
}
