"""Many tests at once."""

from collections.abc import Sequence

from pipeline.evaluate.predictions import PredictionTable


def questions(table: PredictionTable) -> list[str]:
    """Classes that are questions of their own: where there are but two, one is the other's mirror image."""
    if table.task == "multiclass" and len(table.classes) == 2:
        return [table.classes[1]]
    return [table.classes[c] for c in table.measured]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, which keep the chance of any false rejection at the level that a single p would.

    Sorted ascending, the running maximum of (m - rank) p, rank from 0, at most 1; m counts the tests made, and None,
    a test that could not be made, stays None.

    Source:
        Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted
