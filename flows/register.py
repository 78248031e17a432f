"""Telling the registry what a verb made or measured, once the verb itself is done."""

from collections.abc import Callable
from typing import ParamSpec

from models.errors import ModelError
from pipeline.errors import PipelineError
from pipeline.watch import Watch

P = ParamSpec("P")


def register(watch: Watch, note: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Tell the registry; where that fails, what was made stands all the same, and it is said.

    Returns:
        Whether it is in the registry.
    """
    try:
        note(*args, **kwargs)
    except (PipelineError, ModelError, OSError) as error:
        watch.note(f"NOT in the model registry: {error}; scanshift models add takes the bundle in")
        return False
    return True
