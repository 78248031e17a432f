"""Which bundle a run works with: one that is named by its folder, or the one approved for a slot at that moment."""

import json
from pathlib import Path

from models.bundle import Bundle
from pipeline.errors import RegistryError
from pipeline.registry.place import claimed_digest, open_registered, opened, slot_name
from pipeline.registry.slot import PREFIX, is_slot
from pipeline.watch import Watch
from pipeline.workspace import Workspace, whole_file

CHOICE = "bundle.json"


def approved_bundle(workspace: Workspace, slot: str) -> Bundle:
    """The bundle that is approved for a slot now, all its hashes checked.

    Raises:
        ConfigError: If `slot` is no name.
        RegistryError: If none is approved, or it is not where the registry says, or was altered.
        CatalogError: If the database cannot be reached.
    """
    slot_name(slot)
    with opened(workspace) as registry:
        model = registry.approved(slot)
    if model is None:
        raise RegistryError(f"{PREFIX}{slot}: no bundle is approved; scanshift models promote approves one")
    try:
        return open_registered(model)
    except RegistryError as error:
        raise RegistryError(f"{PREFIX}{slot} ({model.short}): {error}") from error


def choose_bundle(workspace: Workspace, bundle: str, run: Path, watch: Watch) -> Path:
    """What a run works with from its first step to its last, whatever is promoted meanwhile.

    Args:
        workspace: Whose registry.
        bundle: A folder, or `approved:` and a slot, which is looked up now.
        run: Folder of the run, where the choice is kept.
        watch: Where it is told which one was chosen.

    Raises:
        RegistryError, CatalogError: As `approved_bundle`.
    """
    if not is_slot(bundle):
        return Path(bundle)
    found = approved_bundle(workspace, bundle.removeprefix(PREFIX))
    watch.note(f"{bundle} is {found.digest[:12]}")
    with whole_file(run / CHOICE, private=True) as file:
        json.dump({"folder": str(found.folder), "digest": found.digest}, file)
    return found.folder


def chosen_bundle(bundle: str, run: Path) -> Path:
    """What `choose_bundle` chose, for the later steps of the run.

    Raises:
        RegistryError: If another bundle lies there now.
    """
    if not is_slot(bundle):
        return Path(bundle)
    choice = json.loads((run / CHOICE).read_text(encoding="utf-8"))
    folder = Path(choice["folder"])
    if claimed_digest(folder) != choice["digest"]:
        raise RegistryError(f"{bundle}: {folder} is not the bundle any more that the run began with")
    return folder
