import numpy as np

from pipeline.prepare import near_duplicates
from pipeline.prepare.near_duplicates import NEAR, first_rows, near_pairs
from pipeline.prepare.picture_hash import BITS

RNG = np.random.default_rng(0)


def hashes(*shape):
    return RNG.integers(0, 2**64, (*shape, BITS // 64), dtype=np.uint64)


def flipped(row, count):
    """A hash with so many bits turned over, spread evenly."""
    bits = np.unpackbits(row.view(np.uint8))
    bits[np.linspace(0, BITS - 1, count).astype(int)] ^= 1
    return np.packbits(bits).view(np.uint64)


def test_pairs_are_those_that_comparing_each_with_each_finds(monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", 100)
    references = hashes(40)
    queries = [hashes(5) for _ in range(12)]
    queries[3][2] = flipped(references[7], NEAR)
    queries[3][4] = flipped(references[31], 10)
    queries[5][0] = flipped(references[7], NEAR + 1)
    queries[9][1] = ~flipped(references[0], NEAR)
    expected = {}
    for q, query in enumerate(queries):
        for n, reference in enumerate(references):
            apart = min(int(np.bitwise_count(row ^ reference).sum()) for row in query)
            most = max(int(np.bitwise_count(row ^ reference).sum()) for row in query)
            if apart <= NEAR or most >= BITS - NEAR:
                expected.setdefault(q, []).append(n)
    assert expected == {3: [7, 31], 9: [0]}
    assert {query: found.tolist() for query, found in near_pairs(queries, references)} == expected


def test_nothing_has_no_pairs():
    assert list(near_pairs([], hashes(3))) == []
    assert list(near_pairs([hashes(5)], hashes(0))) == []
    assert list(near_pairs([hashes(0), hashes(0)], hashes(3))) == []


def test_a_picture_itself_stands_first():
    queries = [hashes(5), hashes(5)]
    assert (first_rows(queries) == np.stack([queries[0][0], queries[1][0]])).all()
    assert {q: found.tolist() for q, found in near_pairs(queries, first_rows(queries))} == {0: [0], 1: [1]}
