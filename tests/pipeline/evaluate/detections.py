"""Made-up detections for the tests of `one_class`: normals spread evenly over 0..1, anomalies near 1."""

import numpy as np

from pipeline.evaluate.predictions import PredictionTable


def make_detections(n=300, *, seed=0, share=0.4, kinds=("bacterial", "viral"), shifted="", patients=None, **changes):
    """Scans of two sites; at the `shifted` one every normal looks abnormal. One patient a scan unless told."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < share
    kind = rng.choice(list(kinds), n)
    site = rng.choice(["gz", "nih"], n)
    score = rng.random(n)
    strength = np.where(kind == kinds[0], 0.03, 0.15)
    score[abnormal] = 1 - strength[abnormal] * rng.random(n)[abnormal]
    moved = ~abnormal & (site == shifted)
    score[moved] = 0.9 + 0.1 * rng.random(moved.sum())
    people = np.arange(n) if patients is None else rng.integers(0, patients, n)
    fields = {
        "classes": ("normal", "anomaly"),
        "task": "one_class",
        "truth": np.stack([~abnormal, abnormal], axis=1).astype(np.int8),
        "probability": np.stack([1 - score, score], axis=1),
        "uncalibrated": np.stack([1 - score, score], axis=1),
        "anomaly_score": score,
        "patient": tuple(f"p{i:04d}" for i in people),
        "groups": {"site": tuple(site)},
        "labels": tuple(np.where(abnormal, kind, "normal")),
        "called": score >= 0.95,
    }
    return PredictionTable(**(fields | changes))
