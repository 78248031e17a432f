"""A model as a folder in the MONAI Bundle layout, with a SHA-256 of every file; never edited in place."""

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import torch

from models.errors import BundleError
from models.weights import DAMAGED, sha256_of

SUMS = "SHA256SUMS"
SETTINGS = "configs/scanshift.yaml"
NETWORK = "models/model.pt"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose hashes were checked.

    Attributes:
        folder: Where it lies.
        digest: SHA-256 of its SHA256SUMS, which names the model in every score.
    """

    folder: Path
    digest: str

    def text(self, name: str) -> str:
        """A text file of the bundle."""
        return (self.folder / name).read_text(encoding="utf-8")

    def tensors(self, name: str = NETWORK) -> dict[str, Any]:
        """A state dict of the bundle; nothing but tensors and plain values is unpickled.

        Raises:
            BundleError: If the file is not a state dict.
        """
        try:
            state = torch.load(self.folder / name, map_location="cpu", weights_only=True)
        except (*DAMAGED, UnpicklingError) as error:
            raise BundleError(f"{self.folder / name}: not a plain state dict") from error
        if not isinstance(state, dict):
            raise BundleError(f"{self.folder / name}: not a plain state dict")
        return state


def write_bundle(
    folder: Path,
    texts: Mapping[str, str],
    states: Mapping[str, Mapping[str, Any]],
    copies: Mapping[str, Path] | None = None,
) -> Bundle:
    """Write a bundle beside its place and rename it there; a bundle from before is replaced as a whole.

    Args:
        folder: The bundle's folder.
        texts: File name to content.
        states: File name to state dict.
        copies: File name to a file that is taken over byte by byte.

    Raises:
        BundleError: If the folder holds something that is not a bundle.
    """
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        for name, text in texts.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_text(text, encoding="utf-8", newline="\n")
        for name, state in states.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            torch.save(dict(state), beside / name)
        for name, source in (copies or {}).items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, beside / name)
        names = sorted([*texts, *states, *(copies or {})])
        lines = "".join(f"{sha256_of(beside / name)}  {name}\n" for name in names)
        (beside / SUMS).write_text(lines, encoding="utf-8", newline="\n")
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Bundle(folder, hashlib.sha256(lines.encode()).hexdigest())


def check_target(folder: Path) -> None:
    """Refuse to write a bundle where something else lies.

    Raises:
        BundleError: If the path is a file, or a folder that is neither empty nor a bundle.
    """
    if folder.is_dir() and (not any(folder.iterdir()) or all((folder / name).is_file() for name in (SUMS, SETTINGS))):
        return
    if folder.exists():
        raise BundleError(f"{folder}: is there already and is not a bundle; choose another folder")


def open_bundle(folder: Path) -> Bundle:
    """Check the hashes of a bundle and return it.

    Raises:
        BundleError: If a file is missing, altered, or not listed.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise BundleError(f"{folder}: not a bundle (no {SUMS})")
    text = sums.read_bytes()
    listed: dict[str, str] = {}
    for line in text.decode("utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or path.is_absolute() or ".." in path.parts or "\\" in name:
            raise BundleError(f"{sums}: a line that is not `<SHA-256>  <file>`")
        listed[name] = digest
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path != sums
    }
    for name in [SETTINGS, NETWORK, *listed]:
        if name not in listed or name not in there:
            raise BundleError(f"{folder}: {name} is missing")
    for name in sorted(there - set(listed)):
        raise BundleError(f"{folder}: {name} is not in {SUMS}; a bundle is never edited in place")
    for name, digest in listed.items():
        if sha256_of(folder / name) != digest:
            raise BundleError(f"{folder}: {name} was altered (its SHA-256 is not the one in {SUMS})")
    return Bundle(folder, hashlib.sha256(text).hexdigest())
