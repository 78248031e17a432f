"""What the pages of `one_class` are filled with."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluate.detection_plots import detection_curves, label_styles, score_distribution
from pipeline.evaluate.detection_wording import PROMISES, detection_gaps, percent
from pipeline.evaluate.predictions import PredictionTable
from pipeline.evaluate.ranking import AT_SPECIFICITY


def detection_page(metrics: Mapping[str, Any] | None, table: PredictionTable | None) -> dict[str, Any]:
    """Values of the templates `detection.html` and `adapt_detection.html`.

    Args:
        metrics: From `measure`, or None where nothing was measured.
        table: The predictions; None draws no plots.
    """
    words = {"percent": percent, "promises": PROMISES, "gaps": detection_gaps, "at_specificity": AT_SPECIFICITY}
    page = words | {"metrics": metrics, "plots": [], "styles": {}}
    if metrics is None or table is None:
        return page
    curves = detection_curves(table, metrics)
    plots = [score_distribution(table, metrics["anomaly"]["threshold"]), curves]
    return page | {"plots": [p for p in plots if p], "styles": label_styles(table) if curves else {}}
