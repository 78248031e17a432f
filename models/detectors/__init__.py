"""Detectors that learn from normal slices alone and find what deviates, one a file."""

from models.detectors.detector import Detector

DETECTORS: dict[str, type[Detector]] = {}
