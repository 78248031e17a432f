"""Whether header fields drift, with exact p-values: an alarm needs p-values far below what permutations can give."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.stats import fisher_exact

from pipeline.evaluate.multiplicity import holm
from pipeline.shift.domain import OTHER, Domain, HeaderValue, one_scan_each
from pipeline.shift.two_sample import ks_p

FEWEST = 5


def header_p_values(reference: Domain, incoming: Domain, *, seed: int) -> dict[str, float]:
    """Adjusted p of every header field that both sides know; empty where a side has fewer than 5 patients.

    One scan of each patient counts. Numbers: Kolmogorov-Smirnov where present (5 a side at least), and Fisher's exact
    test of how often they are missing. Words, of which missing is one: Fisher's test of each against all others; where
    the reference keeps rare words as `(other)`, so do incoming words that it does not know. The smallest p of a field
    times the number of its tests; then Holm's correction over the fields.

    Source:
        Fisher 1922, On the Interpretation of Chi-Square from Contingency Tables; Holm 1979.
    """
    rows = [one_scan_each(side.units, seed + offset) for offset, side in enumerate((reference, incoming))]
    if min(len(chosen) for chosen in rows) < FEWEST:
        return {}
    found = {}
    for name in sorted(set(reference.headers) & set(incoming.headers)):
        first, second = (
            [side.headers[name][row] for row in chosen]
            for side, chosen in zip((reference, incoming), rows, strict=True)
        )
        found[name] = field_p(first, second)
    adjusted = holm(list(found.values()))
    return {name: float(p) for name, p in zip(found, adjusted, strict=True) if p is not None}


def field_p(first: Sequence[HeaderValue], second: Sequence[HeaderValue]) -> float:
    """The p of one field, see `header_p_values`; 1 where both sides say one and the same."""
    numbers = [[float(v) for v in side if v is not None and not isinstance(v, str)] for side in (first, second)]
    words = any(isinstance(value, str) for value in (*first, *second))
    tests = []
    if not words and min(map(len, numbers)) >= FEWEST:
        tests.append(ks_p(np.array(numbers[0]), np.array(numbers[1]))[1])
    sides = [Counter(_word(value, words) for value in side) for side in (first, second)]
    if OTHER in sides[0]:
        sides[1] = Counter(word if word in sides[0] else OTHER for word in sides[1].elements())
    kinds = sorted(sides[0] | sides[1])
    for kind in kinds[: 1 if len(kinds) == 2 else None]:  # of two words one is the other's mirror image
        if len(kinds) > 1:
            table = np.array([[side[kind], side.total() - side[kind]] for side in sides])
            tests.append(float(fisher_exact(table).pvalue))
    return min(1.0, min(tests) * len(tests)) if tests else 1.0


def _word(value: HeaderValue, words: bool) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        return "\0"
    return str(value).strip() if words else "there"
