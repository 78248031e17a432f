"""The pictures that a bundle has seen, as hashes that copies of them come near to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.prepare.near_duplicates import near_pairs
from pipeline.prepare.picture_hash import (
    BITS,
    SLABS,
    Floats,
    Levels,
    Words,
    detail,
    one_thread,
    picture_bits,
    picture_hash,
)
from pipeline.prepare.samples import Preparation

VERSION = 1  # raised whenever the same picture would give another hash
BYTES = BITS // 8
MOST = 2_000_000


@dataclass(frozen=True, slots=True)
class KnownPictures:
    """Hashes of the pictures of a training set.

    Attributes:
        salt: Hex key of the projections, that of the training set.
        slabs: Parts that scans were seen as: 1, or 3 for volumes.
        hashes: 64 bytes a scan, in an order of their own; a scan without detail has none.
    """

    salt: str
    slabs: int
    hashes: bytes

    @property
    def words(self) -> Words:
        """The hashes, shape (n, 8)."""
        return np.frombuffer(self.hashes, np.uint64).reshape(-1, BITS // 64)

    def record(self) -> dict[str, Any]:
        """Plain values for the bundle."""
        rows = [self.hashes[n : n + BYTES].hex() for n in range(0, len(self.hashes), BYTES)]
        return {"version": VERSION, "slabs": self.slabs, "hashes": rows}


def slabs_of(preparation: Preparation) -> int:
    """As how many parts scans of a preparation are seen."""
    return 1 if preparation.slices == 1 else SLABS


def known_pictures(samples: Iterable[Levels], salt: str, slabs: int) -> KnownPictures:
    """Hash prepared scans, shape (N, C, S, S) each."""
    with one_thread():
        rows = {picture_hash(slices, slabs, salt).tobytes() for slices in samples}
    return KnownPictures(salt, slabs, b"".join(sorted(rows)))


def read_known_pictures(record: dict[str, Any], salt: str) -> KnownPictures:
    """Read what `KnownPictures.record` wrote.

    Raises:
        ValueError, TypeError, KeyError: If it makes no sense, or is of another version.
    """
    rows, slabs = record["hashes"], record["slabs"]
    if record["version"] != VERSION or slabs not in (1, SLABS):
        raise ValueError("hashes of another kind")
    if not isinstance(rows, list) or len(rows) > MOST:
        raise ValueError(f"hashes: a list of at most {MOST} is expected")
    if not all(isinstance(row, str) and len(row) == 2 * BYTES for row in rows):
        raise ValueError(f"hashes: {2 * BYTES} hex digits each are expected")
    hashes = bytes.fromhex("".join(rows))
    if len(hashes) != BYTES * len(rows):
        raise ValueError(f"hashes: {2 * BYTES} hex digits each are expected")
    return KnownPictures(salt, int(slabs), hashes)


def copies_among(
    samples: Iterable[Levels], known: Sequence[KnownPictures], *, moved: bool = True
) -> npt.NDArray[np.bool_]:
    """Which prepared scans look like copies of pictures that are known, shape (n,).

    Args:
        samples: Shape (N, C, S, S) each.
        known: Under any salts.
        moved: Whether copies that were scaled or turned a little are looked for too, at four times the time.
    """
    hashed: list[list[Words]] = [[] for _ in known]
    count = 0
    with one_thread():
        for slices in samples:
            count += 1
            rows: dict[int, Floats] = {}
            for own, pictures in zip(hashed, known, strict=True):
                if pictures.slabs not in rows:
                    rows[pictures.slabs] = detail(slices, pictures.slabs, moved=moved)
                own.append(picture_bits(rows[pictures.slabs], pictures.salt))
    found = np.zeros(count, np.bool_)
    for own, pictures in zip(hashed, known, strict=True):
        found[[query for query, _ in near_pairs(own, pictures.words)]] = True
    return found
