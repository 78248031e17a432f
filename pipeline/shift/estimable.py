"""When the accuracy on scans without labels may be estimated, and when a number would deceive."""

from pipeline.shift.kind import Kind

NEARLY_SEPARABLE = 0.95
LARGE_GAP = 0.15


def estimability(
    *,
    shifted: bool,
    kind: Kind | None,
    separability_high: float | None,
    output_gap: float | None,
    repaired: bool = False,
) -> str:
    """Why the accuracy cannot be estimated from confidences; empty where it can.

    - No shift, or only another mix of classes: it can.
    - The scans look different, or may do, and the upper limit of the separability is 0.95 or more: nearly every
      incoming scan lies where the reference has none, so nothing measured on the reference says what the network does
      there; every accuracy fits the data seen (Garg et al. 2022, section 3). Only a repair that was shown to work
      allows it. Networks are often surest where they are wrong.
    - The outputs are further than 0.15 from every mixture of the reference's classes: the calibration of the
      confidences, on which all estimates rest, does not hold on these scans.

    Args:
        shifted: Whether the shift test rejected.
        kind: Kind of shift, None where it could not be told.
        separability_high: Upper 95 % limit of the AUROC of telling the sides apart, None where not measured.
        output_gap: Largest gap between the outputs and their best mixture of classes, 0..1, None where not measured.
        repaired: Whether a repair (harmonisation, batch norm statistics, ...) was shown to work on these scans.
    """
    if not shifted or kind == "prevalence" or repaired:
        return ""
    if separability_high is None or separability_high >= NEARLY_SEPARABLE:
        found = "not measured" if separability_high is None else f"up to {separability_high:.3f}"
        return (
            f"a classifier tells incoming from reference scans (AUROC {found}, limit {NEARLY_SEPARABLE}): the network "
            "is used where the reference shows nothing, and its confidence says nothing about its accuracy there"
        )
    if output_gap is None or output_gap > LARGE_GAP:
        found = "not measured" if output_gap is None else f"{output_gap:.2f}"
        return (
            f"the outputs fit no mixture of the reference's classes (gap {found}, limit {LARGE_GAP}): "
            "confidences that were calibrated on the reference do not hold here"
        )
    return ""
