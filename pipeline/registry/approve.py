"""A person's judgement of a bundle: promoted, retired, reinstated; each noted with a name."""

from dataclasses import dataclass

from pipeline.errors import ConfigError, RefusedError, RegistryError
from pipeline.registry.place import find_model, open_registered, opened, slot_name
from pipeline.registry.records import Model
from pipeline.workspace import Workspace

DEFAULT_SLOT = "default"


@dataclass(frozen=True, slots=True)
class Approver:
    """Who judges, and what they say to it.

    Attributes:
        name: As given; kept in the registry alone.
        note: In their words, or empty.
    """

    name: str
    note: str = ""


def approver(name: str, note: str = "") -> Approver:
    """A name and a note as one line each.

    Raises:
        ConfigError: If there is no name.
    """
    if not _line(name):
        raise ConfigError("--by: say who")
    return Approver(_line(name), _line(note))


def _line(text: str) -> str:
    """A text without line breaks and whatever else a terminal would obey."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def promote(
    workspace: Workspace, which: str, by: Approver, *, slot: str = DEFAULT_SLOT, unvalidated: bool = False
) -> tuple[Model, str]:
    """Approve a bundle for a slot; the one approved before is retired in the same transaction.

    Args:
        workspace: Whose registry.
        which: A digest, its beginning, or a folder.
        by: Who approves.
        slot: For what.
        unvalidated: Whether it may lack a validation; a note has to say why.

    Returns:
        What the registry says of it now, and the digest of the one approved before, empty for none.

    Raises:
        ConfigError: If `slot` is no name, or `unvalidated` comes without a note.
        RegistryError: If the registry does not know the bundle.
        RefusedError: If its files do not match its digest, it is retired or has the slot already, or was never
            validated.
    """
    slot_name(slot)
    if unvalidated and not by.note:
        raise ConfigError("--unvalidated: give a --note that says why")
    with opened(workspace) as registry:
        model = find_model(registry, which)
        try:
            open_registered(model)
        except RegistryError as error:
            raise RefusedError(f"{error}; scanshift models add says where bundle {model.short} lies") from error
        before = registry.promote(model.digest, slot, who=by.name, note=by.note, unvalidated=unvalidated)
        return registry.find(model.digest), before


def retire(workspace: Workspace, which: str, by: Approver) -> tuple[Model, tuple[str, ...]]:
    """Take a bundle out of use, also one whose files are gone.

    Returns:
        What the registry says of it now, and the slots that have no approved bundle any more.

    Raises:
        RegistryError: If the registry does not know it.
        RefusedError: If it is retired already.
    """
    with opened(workspace) as registry:
        model = find_model(registry, which)
        slots = registry.retire(model.digest, who=by.name, note=by.note)
        return registry.find(model.digest), slots


def reinstate(workspace: Workspace, which: str, by: Approver) -> Model:
    """Make a retired bundle a candidate again, so that one can go back to it.

    Raises:
        ConfigError: If no note says why.
        RegistryError: If the registry does not know it.
        RefusedError: If it is not retired.
    """
    if not by.note:
        raise ConfigError("models reinstate: give a --note that says why")
    with opened(workspace) as registry:
        model = find_model(registry, which)
        registry.reinstate(model.digest, who=by.name, note=by.note)
        return registry.find(model.digest)
