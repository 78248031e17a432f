"""Detectors that learn from normal slices alone and find what deviates, one a file."""

from models.detectors.autoencoder import Autoencoder
from models.detectors.detector import Detector
from models.detectors.knn import NearestNeighbours
from models.detectors.mahalanobis import Mahalanobis
from models.detectors.padim import PaDiM
from models.detectors.patchcore import PatchCore
from models.detectors.reverse_distillation import ReverseDistillation
from models.detectors.stfpm import STFPM

DETECTORS: dict[str, type[Detector]] = {
    "knn": NearestNeighbours,  # Bergman et al. 2020
    "mahalanobis": Mahalanobis,  # Rippel et al. 2020
    "padim": PaDiM,  # Defard et al. 2021
    "patchcore": PatchCore,  # Roth et al. 2022
    "stfpm": STFPM,  # Wang et al. 2021
    "reverse_distillation": ReverseDistillation,  # Deng & Li 2022
    "autoencoder": Autoencoder,  # Cai et al. 2024
}
