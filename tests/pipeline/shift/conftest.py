"""Made-up hospitals: patients with several scans that resemble each other, and a head that knows two classes."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pipeline.shift.domain import Domain

WIDTH = 40


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Many small matrices: threads would wait for each other longer than they work."""
    with threadpool_limits(1):
        yield


def make_side(n, *, share=0.5, move=0.0, seed=0, name="p", width=WIDTH, most=4, tilt=0.0):
    """n scans. The class shows in feature 0 and in the logits; `move` shifts feature 5, which the head ignores.

    Patients have 1 to `most` scans, of one class, those with the finding one more; 36 % of the variance of a feature
    belongs to the patient. `tilt` adds to the logits of the second class.
    """
    rng = np.random.default_rng([seed, 77])
    sick = rng.random(n) < share
    patients = np.repeat(np.arange(n), rng.integers(1, most + 1, n) + (sick if most > 1 else 0))
    scans_sick = np.repeat(sick, np.bincount(patients, minlength=n))
    patients, classes = patients[:n], scans_sick[:n].astype(int)
    features = 0.8 * rng.normal(size=(n, width)) + 0.6 * rng.normal(size=(n, width))[patients]
    features[:, 0] += 3 * classes
    features[:, 5] += move
    log_odds = 2.5 * (features[:, 0] - 1.5) + tilt
    logits = np.stack([-log_odds / 2, log_odds / 2], axis=1)
    return Domain(
        features.astype(np.float32), logits, np.eye(2)[classes], tuple(f"{name}{patient}" for patient in patients)
    )


@pytest.fixture(scope="session")
def side():
    return make_side
