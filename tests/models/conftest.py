"""Small networks with random weights, and the shared folder of real ones."""

from pathlib import Path

import pytest

from models.state_names import source_names

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "weights"


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """Small networks: two threads would wait for each other longer than they work."""


@pytest.fixture
def torchvision_state():
    """A backbone's weights under torchvision's names, as a downloaded file has them."""

    def build(backbone):
        state = backbone.state_dict()
        return {name: state[own].clone() for own, (_, name) in source_names(backbone).items()}

    return build


@pytest.fixture
def shared_weights():
    """The folder of real weights beside the checkout; skips the test where it is absent."""
    if not (SHARED / "weights.json").is_file():
        pytest.skip("../shared/weights is not there")
    return SHARED
