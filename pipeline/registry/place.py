"""A bundle of the registry on disk: whether it still lies where it should, byte by byte."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from models.bundle import SUMS, Bundle, open_bundle
from models.errors import BundleError
from pipeline.errors import ConfigError, RegistryError
from pipeline.registry.records import Model
from pipeline.registry.store import Registry
from pipeline.workspace import Workspace

SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@contextlib.contextmanager
def opened(workspace: Workspace) -> Iterator[Registry]:
    """The registry of a workspace, for as long as it is needed.

    Raises:
        CatalogError: If its database cannot be reached.
    """
    with contextlib.closing(Registry(workspace.catalog_url)) as registry:
        yield registry


def slot_name(text: str) -> str:
    """A slot's name, checked.

    Raises:
        ConfigError: If it is not one.
    """
    if not SLOT.fullmatch(text):
        raise ConfigError(f"{text!r}: a slot is named by up to 64 letters, digits, dots, dashes and underscores")
    return text


def open_registered(model: Model) -> Bundle:
    """Open a bundle of the registry, all its hashes checked.

    Raises:
        RegistryError: If it is not there, incomplete or altered, or another one lies there.
    """
    try:
        bundle = open_bundle(model.folder)
    except BundleError as error:
        raise RegistryError(str(error)) from error
    except OSError as error:
        raise RegistryError(f"{model.folder}: {error.strerror or 'cannot be read'}") from error
    if bundle.digest != model.digest:
        raise RegistryError(f"{model.folder}: another bundle lies there now ({bundle.digest[:12]})")
    return bundle


def wrong_with(model: Model) -> str:
    """What `open_registered` would say; empty where the bundle is intact."""
    try:
        open_registered(model)
    except RegistryError as error:
        return str(error)
    return ""


def lies_there(model: Model) -> bool:
    """Whether a bundle with this digest lies in its folder; its files are not read."""
    return claimed_digest(model.folder) == model.digest


def claimed_digest(folder: Path) -> str:
    """The digest of the bundle in a folder, its files unread; empty where there is none."""
    try:
        return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    except OSError:
        return ""


def find_model(registry: Registry, which: str) -> Model:
    """The bundle of the registry that a digest, its beginning, or a folder names.

    Raises:
        RegistryError: If there is none, or more than one.
    """
    folder = Path(which)
    if not folder.is_dir():
        return registry.find(which)
    model = registry.known(claimed_digest(folder))
    if model is None:
        raise RegistryError(f"{which}: not in the registry; scanshift models add {which} takes it in")
    return model
