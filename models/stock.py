"""The weights on this machine: what there is, whether hashes are right, and taking in a file that was brought."""

import re
import shutil
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from models.errors import ModelError, WeightsMismatchError, WeightsNotFoundError
from models.families import ARCHITECTURES
from models.weights import WeightsFile, find_weights, sha256_of


def _files(folder: Path | None) -> dict[str, WeightsFile]:
    found: dict[str, WeightsFile] = {}
    for name in ARCHITECTURES:
        try:
            found[name] = find_weights(name, "imagenet", folder=folder, download=False)
        except WeightsNotFoundError:
            continue
    return found


def list_weights(folder: Path | None) -> dict[str, str]:
    """Backbone to where its weights lie, of all that have some here."""
    return {name: str(file.path) for name, file in _files(folder).items()}


def check_weights(folder: Path | None) -> dict[str, str]:
    """Backbone to `right`, or what is wrong with its file."""
    states: dict[str, str] = {}
    for name, file in _files(folder).items():
        digest = sha256_of(file.path)
        right = digest.startswith(file.sha256)
        states[name] = "right" if right else f"SHA-256 begins {digest[:8]}, expected {file.sha256[:8]}"
    return states


def add_weights(file: Path) -> Path:
    """Copy a brought file into torch's hub cache, after checking it against the hash in its name.

    Raises:
        WeightsNotFoundError: If there is no such file.
        ModelError: If the name is not one of torchvision's.
        WeightsMismatchError: If the hash is not the one in the name.
    """
    if not file.is_file():
        raise WeightsNotFoundError(f"{file}: no such file")
    known = {member.url.rsplit("/", 1)[1] for name in ARCHITECTURES for member in get_model_weights(name)}
    digits = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    if file.name not in known or digits is None:
        raise ModelError(f"{file.name}: not a name of torchvision's weights; keep the name it has there")
    if not sha256_of(file).startswith(digits.group(1)):
        raise WeightsMismatchError(f"{file.name}: its SHA-256 does not begin with {digits.group(1)}; bring it again")
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    cache.mkdir(parents=True, exist_ok=True)
    beside = cache / f".{file.name}.tmp"
    shutil.copyfile(file, beside)
    beside.replace(cache / file.name)
    return cache / file.name
