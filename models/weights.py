"""Finding pretrained weights, checking them, and loading them whole or not at all.

Sought in this order: an explicit file, a folder with a `weights.json` manifest, torch's hub cache, the download.
"""

import contextlib
import hashlib
import io
import json
import re
import struct
import sys
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torchvision.models import WeightsEnum, get_model_weights

from models.backbones import Backbone, set_variant
from models.errors import PartialWeightsError, WeightsMismatchError, WeightsNotFoundError
from models.families import ARCHITECTURES
from models.state_names import StateDict, longest_cut, missing_stages, source_names

OF_A_BUNDLE = "backbone."
MANIFEST = "weights.json"
OF_TORCHVISION = "torchvision's (BSD-3-Clause); terms of the training data, such as ImageNet's, may apply beside it"
# what torch.load raises on a file that is damaged or no state dict
DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file with pretrained weights.

    Attributes:
        path: The file.
        sha256: The hash it must have: all 64 hex digits, the first 8 (torchvision's names), or empty if unknown.
        origin: `file`, `bundle`, `manifest` or `torchvision`, with a name; for the model card.
        variant: `v1` for ResNets with Keras' and Caffe's stride.
        licence: Terms of the weights, as the manifest or torchvision has them; empty where nothing says.
    """

    path: Path
    sha256: str
    origin: str
    variant: str = ""
    licence: str = ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_weights(backbone: str, weights: str, *, folder: Path | None, download: bool = True) -> WeightsFile:
    """Find the weights of a backbone.

    Args:
        backbone: Registry name; a cut (`@stage`) does not matter here.
        weights: `imagenet` or `DEFAULT`, a member such as `IMAGENET1K_V2` (with or without its enum's name), or a
            path.
        folder: Folder with a `weights.json`, or None.
        download: Whether torchvision may fetch what is not here.

    Raises:
        WeightsNotFoundError: With the file to bring, where from, where to put it, and its hash.
    """
    base = backbone.partition("@")[0]
    if not re.fullmatch(r"imagenet|DEFAULT|(\w+\.)?IMAGENET\w*", weights):
        path = Path(weights)
        if not path.is_file():
            raise WeightsNotFoundError(f"{weights}: no such weights file")
        digits = re.search(r"-([0-9a-f]{8})\.[a-z]+$", path.name)
        return WeightsFile(path, digits.group(1) if digits else "", f"file {path.name}", _variant(base, path.name))
    default = weights in ("imagenet", "DEFAULT")
    if folder is not None and default and (entry := _manifest_entry(folder, base)) is not None:
        return entry
    if base not in ARCHITECTURES:
        raise WeightsNotFoundError(f"{backbone}: give weights as a file, or in a manifest ({_where(folder)})")
    wanted = _members(base, weights)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for member in wanted:
        name = member.url.rsplit("/", 1)[1]
        if (cache / name).is_file():
            return _torchvision_file(cache / name, member)
    if download:
        _fetch(wanted[0], cache, folder)
        return _torchvision_file(cache / wanted[0].url.rsplit("/", 1)[1], wanted[0])
    raise WeightsNotFoundError(_advice(wanted[0], cache, folder))


def read_state(file: WeightsFile) -> tuple[StateDict, str]:
    """The tensors of a file by name and its SHA-256, after checking its hash; nothing is unpickled.

    Raises:
        WeightsMismatchError: If the hash does not fit, or it holds anything but names and tensors.
    """
    digest = sha256_of(file.path)
    if not digest.startswith(file.sha256):
        raise WeightsMismatchError(
            f"{file.path.name}: SHA-256 begins {digest[:8]}, expected {file.sha256[:8]}; bring the file again"
        )
    try:
        state: StateDict = torch.load(file.path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise WeightsMismatchError(f"{file.path.name}: not a plain state dict") from error
    except UnpicklingError as error:
        raise WeightsMismatchError(f"{file.path.name}: holds more than tensors, refused") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsMismatchError(f"{file.path.name}: not a plain state dict")
    return state, digest


def load_weights(backbone: Backbone, file: WeightsFile) -> str:
    """Load a file into a backbone, in place, after checking its hash and that no needed tensor is missing.

    Returns:
        The file's SHA-256.

    Raises:
        WeightsMismatchError: If the hash, a name or a shape does not fit.
        PartialWeightsError: If the file stops short of the stages that the backbone has.
    """
    state, digest = read_state(file)
    if any(name.startswith(OF_A_BUNDLE) for name in state) and not file.origin.startswith("bundle"):
        raise WeightsMismatchError(
            f"{file.path.name}: of a bundle; name the bundle's folder instead, which says how the network is built"
        )
    set_variant(backbone, file.variant)
    _copy(backbone, state, file.path.name)
    return digest


def _copy(backbone: Backbone, state: StateDict, file_name: str) -> None:
    if any(name.startswith(OF_A_BUNDLE) for name in state):  # an adapted network, under our own names
        state = {name.removeprefix(OF_A_BUNDLE): tensor for name, tensor in state.items()}
        target = {own: (stage, own) for own, (stage, _) in source_names(backbone).items()}
    else:
        target = source_names(backbone)
    missing = missing_stages(target, state)
    if missing:
        cut = longest_cut(backbone, missing)
        advice = f"; use backbone {cut}, or bring complete weights" if cut else ""
        raise PartialWeightsError(f"{file_name}: no weights for {', '.join(missing)} of {backbone.name}{advice}")
    own_state = {own: state[name] for own, (_, name) in target.items() if name in state}
    here = backbone.state_dict()
    for own, tensor in own_state.items():
        if tensor.shape != here[own].shape:
            raise WeightsMismatchError(
                f"{file_name}: {own} has shape {tuple(tensor.shape)}, expected {tuple(here[own].shape)}"
            )
    backbone.load_state_dict(own_state, strict=False)


def manifest_names(folder: Path) -> list[str]:
    """Backbones that a folder's `weights.json` names.

    Raises:
        WeightsNotFoundError: If it cannot be read.
    """
    try:
        return [str(entry["backbone"]) for entry in _read_manifest(folder)]
    except (KeyError, TypeError) as error:
        raise WeightsNotFoundError(f"{folder / MANIFEST}: no readable manifest ({type(error).__name__})") from error


def _read_manifest(folder: Path) -> list[Any]:
    try:
        read: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return list(read["weights"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsNotFoundError(f"{folder / MANIFEST}: no readable manifest ({type(error).__name__})") from error


def _manifest_entry(folder: Path, base: str) -> WeightsFile | None:
    try:
        entries = [entry for entry in _read_manifest(folder) if entry["backbone"] == base]
        if not entries:
            return None
        entry = entries[0]
        name, digest = Path(entry["file"]).name, str(entry["sha256"])
        variant = str(entry.get("variant", "")) or _variant(base, name)
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsNotFoundError(f"{folder / MANIFEST}: no readable manifest ({type(error).__name__})") from error
    if not (folder / name).is_file():
        raise WeightsNotFoundError(f"{folder / name}: named by weights.json but not there")
    return WeightsFile(folder / name, digest, f"manifest {name}", variant, str(entry.get("licence", "")))


def _variant(base: str, file_name: str) -> str:
    return "v1" if file_name.startswith(f"{base}v1") else ""


def _members(base: str, weights: str) -> list[WeightsEnum]:
    enum: Any = get_model_weights(base)
    if weights in ("imagenet", "DEFAULT"):
        return [enum.DEFAULT, *(member for member in enum if member is not enum.DEFAULT)]
    name = weights.rpartition(".")[2]
    if name not in enum.__members__:
        raise WeightsNotFoundError(f"{base}: no weights {weights!r} (known: {', '.join(enum.__members__)})")
    return [enum[name]]


def _torchvision_file(path: Path, member: WeightsEnum) -> WeightsFile:
    digits = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    return WeightsFile(path, digits.group(1) if digits else "", f"torchvision {member}", licence=OF_TORCHVISION)


def _fetch(member: WeightsEnum, cache: Path, folder: Path | None) -> None:
    bar = sys.stderr.isatty()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torch tells of the download there, where results belong
            torch.hub.load_state_dict_from_url(
                member.url, map_location="cpu", progress=bar, check_hash=True, weights_only=True
            )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsNotFoundError(_advice(member, cache, folder)) from error


def _advice(member: WeightsEnum, cache: Path, folder: Path | None) -> str:
    name = member.url.rsplit("/", 1)[1]
    digits = name.rsplit("-", 1)[-1].split(".")[0]
    return (
        f"no weights for {member} on this machine: bring {name} from {member.url} (SHA-256 begins {digits}) and put it "
        f"into {cache}, or run `scanshift weights add FILE`, or name it with weights=FILE ({_where(folder)}); "
        "random weights are used only when asked for: weights=none"
    )


def _where(folder: Path | None) -> str:
    return f"looked in {folder} too" if folder else "SCANSHIFT_WEIGHTS names no folder"
