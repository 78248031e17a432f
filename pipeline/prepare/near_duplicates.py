"""Which pictures are copies of which, by their hashes: all pairs, in blocks, without a loop over pairs."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.prepare.picture_hash import BITS, WORDS, Words

Numbers = npt.NDArray[np.int64]

NEAR = 64  # bits of 512; measured in docs/explanation/leakage.md
FIRST = 19  # of the first 64 bits: a copy at NEAR differs in 8 of them, with a standard deviation of 2.6
BLOCK = 2**17  # pairs that are looked at together: they fit into the processor's cache


def first_rows(queries: Sequence[Words]) -> Words:
    """Hashes (n, 8) of the pictures as they are, of those of every scaling and turn."""
    return np.stack([query[0] for query in queries])


def near_pairs(queries: Sequence[Words], references: Words) -> Iterator[tuple[int, Numbers]]:
    """Number of each query that has copies among the references, and their numbers, ascending.

    A copy differs in at most 64 of 512 bits under one of the query's scalings and turns, or in all but 64, which
    is what a negative of the picture does.

    Args:
        queries: Hashes (V, 8) of each picture as it is, scaled and turned.
        references: Hashes (n, 8).
    """
    if not len(references):
        return
    first = np.ascontiguousarray(references[:, 0])
    rows = np.concatenate([np.empty((0, WORDS), np.uint64), *queries])
    owner = np.repeat(np.arange(len(queries)), [len(query) for query in queries])
    step = max(1, BLOCK // len(first))
    found: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(rows), step):
        found.append(_of_block(rows[start : start + step], owner[start : start + step], first, references))
    pairs = np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)
    for query in np.unique(pairs[:, 0]):
        yield int(query), pairs[pairs[:, 0] == query, 1]


def _of_block(rows: Words, owner: Numbers, first: Words, references: Words) -> Numbers:
    """Pairs (query, reference), shape (m, 2), of some rows."""
    apart = np.bitwise_count(rows[:, :1] ^ first)
    middle = apart - np.uint8(FIRST + 1)  # what is FIRST or less turns over to large numbers
    row, reference = np.nonzero(middle >= 64 - 2 * FIRST - 1)
    bits = np.bitwise_count(rows[row] ^ references[reference]).sum(axis=1, dtype=np.int64)
    near = (bits <= NEAR) | (bits >= BITS - NEAR)
    return np.stack([owner[row[near]], reference[near]], axis=1)
