"""Whether words are spread alike over two groups."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluate.predictions import Floats

CHUNK = 250


def chi_squared_p(words: Sequence[str], first: int, *, seed: int, permutations: int) -> float:
    """Permutation p of Pearson's chi-squared: (1 + permutations at least as large) / (1 + permutations).

    By permutation, not by the distribution, since small groups and empty cells are the rule in headers.

    Args:
        words: The words of both groups, one after the other.
        first: How many of them belong to the first group.
        seed: Seed of the permutations.
        permutations: How many.

    Returns:
        1.0 where there is only one word.
    """
    codes = np.unique(np.asarray(words), return_inverse=True)[1]
    indicator = np.eye(int(codes.max()) + 1)[codes]
    side = np.arange(len(words)) < first
    generator = np.random.default_rng(seed)
    observed, beyond = float(_chi_squared(indicator, side[None].astype(np.float64))[0]), 0
    for start in range(0, permutations, CHUNK):
        width = min(CHUNK, permutations - start)
        sides = generator.permuted(np.tile(side, (width, 1)), axis=1).astype(np.float64)
        beyond += int((_chi_squared(indicator, sides) >= observed - 1e-9).sum())
    return (1 + beyond) / (1 + permutations)


def _chi_squared(indicator: Floats, sides: Floats) -> Floats:
    """Sum over words and groups of (found - expected)^2 / expected, for each row of `sides` (r, n); shape (r,)."""
    counts = indicator.sum(axis=0)
    share = sides.mean(axis=1, keepdims=True)
    gap = (sides @ indicator - share * counts) ** 2 / counts
    return np.asarray((gap / share + gap / (1 - share)).sum(axis=1))
