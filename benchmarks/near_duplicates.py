"""How well perceptual hashes of prepared scans tell copies of a picture from pictures of other patients.

    python benchmarks/near_duplicates.py --out OUT [--tool ../shared/tools/make_hospital.py]

Each scan of a site is compared with all scans of other patients (false matches), and changed copies of 500 of them
with their originals (misses). Prints one line a site and one a change, and what can be drawn again out of a hash.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from anomaly_sites import read_site
from PIL import Image

from pipeline.prepare.cache import SampleStore
from pipeline.prepare.near_duplicates import NEAR
from pipeline.prepare.picture_hash import BITS, _projection, detail, picture_bits
from pipeline.prepare.samples import LEVELS, Preparation

PREPARATION = Preparation(kind="radiograph", modality="CR/DX", image_size=224, slices=1, intensity="auto")
SALT = "5ca1ab1e" * 4
COPIES = 500
SITES = ("guangzhou", "nih")


def grey(levels):
    """A prepared slice as an 8-bit picture."""
    return Image.fromarray(np.round(levels / 257).astype(np.uint8))


def prepared(picture, size):
    """A picture as a prepared slice again."""
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)).astype(np.uint16) * 257


def jpeg(levels, quality):
    file = io.BytesIO()
    grey(levels).save(file, "JPEG", quality=quality)
    return prepared(Image.open(file), len(levels))


def resized(levels, share):
    side = round(share * len(levels))
    return prepared(grey(levels).resize((side, side), Image.Resampling.BILINEAR), len(levels))


def cropped(levels, left, top, right, bottom):
    side = len(levels)
    box = (left * side, top * side, (1 - right) * side, (1 - bottom) * side)
    return prepared(grey(levels).crop([round(edge) for edge in box]), side)


def bordered(levels, share):
    side, edge = len(levels), round(share * len(levels))
    picture = Image.new("L", (side + 2 * edge, side + 2 * edge))
    picture.paste(grey(levels), (edge, edge))
    return prepared(picture, side)


def toned(levels, curve):
    return (np.clip(curve(levels / LEVELS), 0, 1) * LEVELS).astype(np.uint16)


def marked(levels):
    copy, unit = levels.copy(), len(levels) // 32
    copy[unit : 4 * unit, unit : 6 * unit] = LEVELS
    return copy


def turned(levels, degrees):
    return prepared(grey(levels).rotate(degrees, Image.Resampling.BILINEAR), len(levels))


CHANGES = {
    "JPEG quality 50": lambda x: jpeg(x, 50),
    "JPEG quality 20": lambda x: jpeg(x, 20),
    "resized to 60 % and back": lambda x: resized(x, 0.6),
    "resized to 25 % and back": lambda x: resized(x, 0.25),
    "gamma 0.8": lambda x: toned(x, lambda v: v**0.8),
    "gamma 1.4": lambda x: toned(x, lambda v: v**1.4),
    "brighter by 15 %": lambda x: toned(x, lambda v: v + 0.15),
    "darker by 15 %": lambda x: toned(x, lambda v: v - 0.15),
    "contrast 1.5": lambda x: toned(x, lambda v: 1.5 * v - 0.25),
    "half the window": lambda x: toned(x, lambda v: 2 * v - 0.4),
    "negative": lambda x: LEVELS - x,
    "noise of 3 %": lambda x: toned(x, lambda v: v + np.random.default_rng(0).normal(0, 0.03, v.shape)),
    "white marker in a corner": marked,
    "turned by 2 degrees": lambda x: turned(x, 2),
    "turned by -1.5 degrees": lambda x: turned(x, -1.5),
    "3 % cropped off each edge": lambda x: cropped(x, 0.03, 0.03, 0.03, 0.03),
    "border of 3 %": lambda x: bordered(x, 0.03),
    "turned, cropped, gamma 0.85, JPEG 60": lambda x: jpeg(
        toned(cropped(turned(x, 1.5), 0.02, 0.02, 0.02, 0.02), lambda v: v**0.85), 60
    ),
    "2 % cropped off one edge": lambda x: cropped(x, 0.02, 0, 0, 0),
    "5 % cropped off one edge": lambda x: cropped(x, 0.05, 0, 0, 0),
    "turned by 5 degrees": lambda x: turned(x, 5),
    "mirrored": lambda x: x[:, ::-1].copy(),
}


def apart(queries, references):
    """Bits that each query, shape (n, V, 4), has apart from each reference (m, 4) at its best, shape (n, m)."""
    best = np.full((len(queries), len(references)), BITS, np.int16)
    for n, query in enumerate(queries):
        for row in query:
            bits = np.bitwise_count(row ^ references).sum(axis=1, dtype=np.int16)
            best[n] = np.minimum(best[n], np.minimum(bits, BITS - bits))
    return best


def others(name, pictures, patients, slabs=1):
    """Print how near scans of other patients come."""
    print(f"{name}: {len(pictures)} scans of {len(set(patients))} patients", flush=True)
    queries = [picture_bits(detail(picture, slabs), SALT) for picture in pictures]
    references = np.concatenate([query[:1] for query in queries])
    bits = apart(queries, references)
    same = patients[:, None] == patients
    pairs = bits[~same]
    nearest = np.where(same, BITS, bits).min(axis=1)
    near = [int((pairs <= limit).sum()) for limit in (NEAR - 10, NEAR, NEAR + 10, NEAR + 20, NEAR + 30)]
    where = np.argwhere(np.where(same, BITS, bits) <= NEAR)
    print(f"  of {len(pairs)} ordered pairs of other patients within {NEAR} bits -10, +0, +10, +20, +30: {near}; rows "
          f"{where.tolist()}")  # fmt: skip
    print(f"  nearest of another patient, bits: lowest {np.sort(nearest)[:8]}, 1 % {np.quantile(nearest, 0.01):.0f}, "
          f"median {np.median(nearest):.0f}", flush=True)  # fmt: skip
    np.fill_diagonal(same, False)
    own = np.where(same, bits, BITS).min(axis=1)
    print(f"  scans with another of the same patient within {NEAR}: {(own <= NEAR).sum()}")


def misses(pictures):
    """Print how many changed copies are missed."""
    drawn = np.random.default_rng(0).choice(len(pictures), COPIES, replace=False)
    plain = np.concatenate([picture_bits(detail(pictures[n], 1, moved=False), SALT) for n in drawn])
    for name, change in CHANGES.items():
        copies = [change(pictures[n][0, 0])[None, None] for n in drawn]
        rows = np.stack([picture_bits(detail(copy, 1), SALT) for copy in copies])
        bits = np.bitwise_count(rows ^ plain[:, None]).sum(axis=2, dtype=np.int64)
        bits = np.minimum(bits, BITS - bits)
        best = bits.min(axis=1)
        missed, unmoved = np.mean(best > NEAR), np.mean(bits[:, 0] > NEAR)
        print(f"  {name}: missed {missed:.1%} (without turns and scalings {unmoved:.1%}); "
              f"bits: median {np.median(best):.0f}, largest {best.max()}", flush=True)  # fmt: skip


def redrawn(pictures):
    """Print how much of a scan's detail its hash gives away: the correlation with the best linear reconstruction."""
    rows = np.concatenate([detail(picture, 1, moved=False) for picture in pictures[:1000]])
    weights = _projection(SALT, rows.shape[1])
    signs = np.where(rows @ weights > 0, 1.0, -1.0)
    mean = rows.mean(axis=0)
    for name, guess in (("alone", signs @ weights.T), ("with the mean of 1,000 scans known", None)):
        if guess is None:  # ridge regression learned on one half of the scans, tried on the other
            half = len(rows) // 2
            known = signs[:half]
            solved = np.linalg.solve(known.T @ known + 100 * np.eye(BITS), known.T @ (rows[:half] - mean))
            guess, truth = signs[half:] @ solved, rows[half:] - mean
        else:
            truth = rows
        cosine = (guess * truth).sum(1) / np.linalg.norm(guess, axis=1) / np.linalg.norm(truth, axis=1)
        print(f"  redrawn from the hash, {name}: correlation {cosine.mean():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tool", type=Path, default=Path("../shared/tools/make_hospital.py"))
    parser.add_argument("--volumes", type=Path, help="an npz of MedMNIST 3D")
    options = parser.parse_args()
    store = SampleStore(options.out / "cache", PREPARATION)
    for name in SITES:
        site = read_site(options.tool, name, options.out, store)
        pictures = [store.load(key) for key in site.contents]
        others(name, pictures, site.patients)
        misses(pictures)
        redrawn(pictures)
    if options.volumes:
        with np.load(options.volumes) as file:
            volumes = np.concatenate([file[f"{side}_images"] for side in ("train", "val", "test")])
        slices = [volume[::3, None].astype(np.uint16) * 257 for volume in volumes]
        others(options.volumes.stem, slices, np.arange(len(slices)), slabs=3)


if __name__ == "__main__":
    main()
