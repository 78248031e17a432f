"""`--bundle` of scoring: a folder, or what is approved for a slot in the workspace's registry."""

import argparse
from pathlib import Path

from pipeline.errors import ConfigError, SourceError
from pipeline.registry.slot import PREFIX, is_slot
from pipeline.workspace import Workspace


def bundle_name(options: argparse.Namespace) -> str:
    """The bundle as a request names it; what is approved is looked up anew by each run, and now, so that it is there.

    Raises:
        ConfigError: If `approved:NAME` comes without a workspace.
        RegistryError: If nothing is approved, or it was altered.
    """
    folder = bundle_folder(options)
    return str(options.bundle) if is_slot(str(options.bundle)) else str(folder.absolute())


def bundle_folder(options: argparse.Namespace) -> Path:
    """Where the bundle lies now. Raises as `bundle_name`."""
    name, folder = str(options.bundle), options.bundle
    if not is_slot(name):
        return Path(folder)
    from pipeline.registry.approved import approved_bundle

    if options.workspace is None:
        raise ConfigError(f"--bundle {name}: name the workspace whose registry it is with -w")
    return approved_bundle(existing(options.workspace), name.removeprefix(PREFIX)).folder


def existing(folder: Path) -> Workspace:
    """A workspace that is there.

    Raises:
        SourceError: If it is not; one that is misspelt is not made.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such workspace")
    return Workspace(folder)
