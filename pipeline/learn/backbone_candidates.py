"""Which backbones have weights on this machine, each cut where its file ends."""

from dataclasses import dataclass
from pathlib import Path

import torch

from models.backbones import ALL, build_backbone
from models.errors import ModelError, WeightsNotFoundError
from models.families import ARCHITECTURES
from models.state_names import longest_cut, missing_stages, source_names
from models.weights import WeightsFile, find_weights, manifest_names, read_state


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backbone whose weights lie on this machine.

    Attributes:
        backbone: Registry name; where the file stops short, cut after the last stage that it covers.
        file: The weights; None where they are named but cannot be used.
        reason: Why they cannot.
    """

    backbone: str
    file: WeightsFile | None
    reason: str = ""


def available_backbones(folder: Path | None, *, joined: bool = False) -> list[Candidate]:
    """Every backbone with weights in the folder's manifest or in torch's hub cache; nothing is downloaded.

    Every file is opened and its hash compared, so that what is listed can be loaded.

    Args:
        folder: Folder with a `weights.json`, or None.
        joined: Whether backbones give the features of all their stages side by side (`name@all`).

    Returns:
        Candidates by name; those with a reason are named by the manifest but missing, altered or without a stem.

    Raises:
        WeightsNotFoundError: If the folder has no readable manifest.
    """
    named = manifest_names(folder) if folder else []
    found: list[Candidate] = []
    for name in sorted({*ARCHITECTURES, *named}):
        try:
            file = find_weights(name, "imagenet", folder=folder, download=False)
        except WeightsNotFoundError:
            if name in named:
                found.append(Candidate(name, None, "named by weights.json, but the file is not there"))
            continue
        try:
            found.append(Candidate(_fitting_name(name, file, joined), file))
        except ModelError as error:
            found.append(Candidate(name, None, str(error)))
    return found


def _fitting_name(name: str, file: WeightsFile, joined: bool) -> str:
    """The name cut to what the file covers.

    Raises:
        ModelError: If the file cannot be used at all.
    """
    with torch.device("meta"):
        backbone = build_backbone(name)
    state, _ = read_state(file)
    missing = missing_stages(source_names(backbone), state)
    cut = longest_cut(backbone, missing) if missing else ""
    if missing and not cut:
        raise WeightsNotFoundError(f"{file.path.name}: no weights for {', '.join(missing)}")
    if not joined or name not in ARCHITECTURES:
        return cut or name
    stages = backbone.stage_names
    covered = stages[1 : stages.index(cut.partition("@")[2]) + 1] if cut else []
    return f"{name}@{'+'.join(covered)}" if covered else cut or f"{name}@{ALL}"
