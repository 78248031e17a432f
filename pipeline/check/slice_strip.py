"""A drawing of where the slices of a volume lie along their normal, so that a gap is seen."""

import itertools

from markupsafe import Markup

from pipeline.check.geometry_proof import Steps

WIDTH, HEIGHT, MARGIN = 600, 30, 4
THINNEST = 2.0


def slice_strip(steps: Steps) -> Markup:
    """One line for each slice, in proportion; steps outside of the tolerance are coloured."""
    span = steps.positions[-1] or 1.0
    at = [MARGIN + (WIDTH - 2 * MARGIN) * position / span for position in steps.positions]
    odd = [
        (left, max(right - left, THINNEST))
        for (left, right), (one, other) in zip(itertools.pairwise(at), itertools.pairwise(steps.positions), strict=True)
        if abs(other - one - steps.median) > steps.tolerance
    ]
    gaps = "".join(f'<rect x="{x:.1f}" y="3" width="{width:.1f}" height="{HEIGHT - 6}"/>' for x, width in odd)
    shown = sorted({round(x, 1) for x in at})  # slices that would be drawn over each other are drawn once
    lines = "".join(f"M{x:g} 6V{HEIGHT - 6}" for x in shown)
    told = f"{len(at)} slices over {span:.4g} mm; {len(odd)} steps outside of the tolerance"
    return Markup(
        f'<svg class="slices" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{told}">'
        f'<g class="odd">{gaps}</g><path d="{lines}"/></svg>'
    )
