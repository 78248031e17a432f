"""Pretrained weights on this machine."""

from pathlib import Path

from models.stock import check_weights
from models.weights import manifest_names
from pipeline.doctor.finding import Level, Told, check, some


@check("weights")
def check_pretrained(folder: Path | None) -> Told:
    """Whether the weights that are here, and those that weights.json names, have the right hashes.

    None at all is a warning, since `weights: none` needs none.

    Args:
        folder: As `$SCANSHIFT_WEIGHTS`, or None.
    """
    named = manifest_names(folder) if folder is not None else []
    states = check_weights(folder)
    wrong = [f"{name}: {state}" for name, state in states.items() if state != "right"]
    wrong += [f"{name}: in the list, but its file is not there" for name in dict.fromkeys(named) if name not in states]
    if wrong:
        return (
            Level.BROKEN,
            f"{some(wrong)}; bring them again, for scanshift weights add",
            tuple(wrong),
        )
    if not states:
        return Level.WARNING, "none here; scanshift weights add takes in what was brought, or a run fetches them"
    return Level.OK, f"{len(states)} backbones, hashes right"
