"""A folder of weights with a manifest, as a machine with no way out has it: small networks with random weights."""

import json

import torch

from models.families import ARCHITECTURES
from models.weights import sha256_of


class WeightsFolder:
    """Builds files in torchvision's layout and the manifest beside them."""

    def __init__(self, folder):
        self.folder, self.entries = folder, []
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def write(self):
        (self.folder / "weights.json").write_text(json.dumps({"weights": self.entries}))

    def add(self, name, *, seed=0, drop=(), change=None, **entry):
        """Random weights of a network, some tensors left out or changed."""
        architecture = ARCHITECTURES[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = architecture.builder(weights=None, **architecture.options)
        state = {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(drop))}
        if change:
            change(state)
        file = self.folder / f"{name}-file.pth"
        torch.save(state, file)
        self.entries.append({"backbone": name, "file": file.name, "sha256": sha256_of(file)} | entry)
        self.write()
        return file


def blind(state):
    """Make SqueezeNet 1.0's features the same for every image."""
    for key in [key for key in state if key.startswith("features.12.")]:
        state[key] = torch.zeros_like(state[key])
