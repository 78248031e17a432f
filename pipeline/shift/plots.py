"""Drawings of a shift as inline SVG in the page's own colours; the same input gives the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from scipy.special import expit, softmax

from pipeline.evaluate.plots import Plot
from pipeline.shift.domain import Domain
from pipeline.shift.embedding import principal_components

Points = npt.NDArray[np.float64]
SIDE, MARGIN = 300.0, 26.0
MOST_DOTS = 400
STEPS = 100
WIDE, HIGH = 320.0, 38.0


def scatter(reference: Domain, incoming: Domain, seed: int) -> Plot:
    """The two widest directions of both sides' features; at most 400 dots a side, drawn at random."""
    scores = principal_components(np.concatenate([reference.features, incoming.features]), count=2)
    scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    low, high = (np.quantile(scores, share, axis=0) for share in (0.005, 0.995))
    places = MARGIN + np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1) * (SIDE - 2 * MARGIN)
    rng = np.random.default_rng(seed)
    both = []
    for rows, name in ((places[: reference.n], "reference"), (places[reference.n :], "incoming")):
        drawn = rows[np.sort(rng.permutation(len(rows))[:MOST_DOTS])]
        both.append(f'<g class="{name}">{"".join(_dots(drawn, name))}</g>')
    caption = (
        "Every scan as a dot, in the two directions in which the features of both sides vary most. Blue circles: "
        "reference. Orange squares: incoming. Dots at the border lie further out."
    )
    return _plot(f"0 0 {SIDE:g} {SIDE:g}", _frame() + "".join(both), caption)


def _dots(places: Points, name: str) -> Iterable[str]:
    for x, y in places:
        if name == "reference":
            yield f'<circle cx="{x:.1f}" cy="{SIDE - y:.1f}" r="2.6"/>'
        else:
            yield f'<rect x="{x - 2.3:.1f}" y="{SIDE - y - 2.3:.1f}" width="4.6" height="4.6"/>'


def _frame() -> str:
    inner = SIDE - MARGIN
    return f'<path class="axis" d="M{MARGIN:g} {MARGIN / 2:g}V{inner:g}H{SIDE - MARGIN / 2:g}"/>'


def distributions(reference: Domain, incoming: Domain, classes: Sequence[str], task: str) -> list[Plot]:
    """Per class, how its predicted probability is spread on either side; of two classes the second only."""
    if reference.logits is None or incoming.logits is None:
        return []
    sides = [expit(logits) if task == "multilabel" else softmax(logits, axis=1)
             for logits in (reference.logits.astype(np.float64), incoming.logits.astype(np.float64))]  # fmt: skip
    shown = range(1, 2) if len(classes) == 2 else range(len(classes))
    return [_distribution(sides[0][:, c], sides[1][:, c], classes[c]) for c in shown]


def _distribution(reference: Points, incoming: Points, name: str) -> Plot:
    grid = np.linspace(0, 1, STEPS + 1)
    inner = SIDE - 2 * MARGIN
    lines = []
    for values, side in ((reference, "reference"), (incoming, "incoming")):
        share = np.searchsorted(np.sort(values), grid, side="right") / len(values)
        path = "L".join(
            f"{MARGIN + inner * x:.1f} {SIDE - MARGIN - inner * y:.1f}" for x, y in zip(grid, share, strict=True)
        )
        lines.append(f'<path class="line {side}" d="M{path}"/>')
    ticks = "".join(
        f'<text x="{MARGIN + inner * x:.1f}" y="{SIDE - 10:g}" text-anchor="middle">{x:g}</text>'
        f'<text x="{MARGIN - 5:g}" y="{SIDE - MARGIN - inner * x + 3:.1f}" text-anchor="end">{x:g}</text>'
        for x in (0.0, 0.5, 1.0)
    )
    caption = (
        f"Share of scans whose predicted probability of {name} is at most the value below. Blue: reference. "
        "Orange, dashed: incoming. The widest gap between the lines is what the test of outputs looks at."
    )
    return _plot(f"0 0 {SIDE:g} {SIDE:g}", _frame() + ticks + "".join(lines), caption)


def scale(size: Mapping[str, Any], start: float, least: float) -> Markup:
    """A size on a line with the band that chance gives, from `start` to at least `least`."""
    null = size["null"]
    known = [
        value for value in (size["value"], size["low"], size["high"], null["low"], null["high"]) if value is not None
    ]
    low, high = min([start, *known]), max([least, *known])

    def x(value: float) -> float:
        return float(4 + (value - low) / (high - low) * (WIDE - 8))

    parts = [
        f'<path class="axis" d="M4 26H{WIDE - 4:g}"/>',
        f'<text x="4" y="36">{_short(low)}</text>',
        f'<text x="{WIDE - 4:g}" y="36" text-anchor="end">{_short(high)}</text>',
    ]
    if null["low"] is not None:
        width = max(x(null["high"]) - x(null["low"]), 1.5)
        parts.append(f'<rect class="null" x="{x(null["low"]):.1f}" y="6" width="{width:.1f}" height="20"/>')
    if size["low"] is not None:
        parts.append(f'<path class="interval" d="M{x(size["low"]):.1f} 16H{x(size["high"]):.1f}"/>')
    if size["value"] is not None:
        parts.append(f'<circle class="value" cx="{x(size["value"]):.1f}" cy="16" r="5"/>')
    return Markup(f'<svg class="scale" viewBox="0 0 {WIDE:g} {HIGH:g}" aria-hidden="true">{"".join(parts)}</svg>')


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _plot(box: str, content: str, caption: str) -> Plot:
    return Plot(
        Markup(f'<svg class="shift" viewBox="{box}" role="img" aria-label="{escape(caption)}">{content}</svg>'), caption
    )
