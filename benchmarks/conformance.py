"""How does ingest end on public conformance files? A table by transfer syntax, beside pydicom's own decoding.

    python benchmarks/conformance.py [FOLDER]      (default: ../shared/dicom)

Every file is ingested on its own. `equal`: stored pixels are pydicom's `pixel_array`, put through the same rescale and
polarity, within 1e-5 of the largest value (lossy JPEG families: 3 grey levels, since decoders may differ by so much);
`no second reader`: pydicom cannot decode it, or its frames are split into several volumes here.
"""

import argparse
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from pipeline.errors import ScanError
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.scan import Scan, SeriesRef

LOSSY = ("JPEG Baseline", "JPEG Extended", "Near-lossless", "JPEG 2000 Image Compression", "HTJ2K")


def syntax_of(path: Path) -> str:
    """Name of the transfer syntax; what is no DICOM by its file name's ending."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        return UID(ds.file_meta.get("TransferSyntaxUID", "none stated")).name
    except (InvalidDicomError, OSError, ValueError, RecursionError, AttributeError, KeyError):
        return f"not read as DICOM by pydicom ({path.suffix or 'no ending'})"


def agrees(path: Path, scan: Scan, lossy: bool) -> str:
    """Whether pydicom's decoding gives the same values."""
    try:
        ds = pydicom.dcmread(path, force=True)
        pixels = ds.pixel_array.astype(np.float64)
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, KeyError, OSError, TypeError):
        return "no second reader"
    colour = int(ds.get("SamplesPerPixel", 1)) == 3
    frames = pixels[None] if pixels.ndim == (3 if colour else 2) else pixels
    if scan.colour or colour or "ModalityLUTSequence" in ds or "PALETTE" in ds.get("PhotometricInterpretation", ""):
        return "colour or lookup table"
    if frames.shape[0] != scan.voxels.shape[2]:
        return "no second reader"
    slope, intercept = float(ds.get("RescaleSlope", 1) or 1), float(ds.get("RescaleIntercept", 0) or 0)
    if "SharedFunctionalGroupsSequence" in ds:
        return "functional groups"
    if scan.inverted:
        frames = 2 ** int(ds.BitsStored) - 1 - frames
    expected = np.sort(np.transpose(frames * slope + intercept, (2, 1, 0)), axis=2)
    worst = np.abs(np.sort(scan.voxels, axis=2) - expected).max()
    limit = 3 * abs(slope) if lossy else 1e-5 * max(1.0, float(np.abs(expected).max()))
    return "equal" if worst <= limit else f"DIFFERS by {worst:g}"


def outcome(path: Path, refs: list[SeriesRef], lossy: bool) -> str:
    """One word for how a file ended."""
    if not refs:
        return "nothing"
    ref = refs[0]
    if ref.status != "ok":
        return f"{ref.status} {ref.reason.partition(':')[0]}"
    try:
        scan = read_scan(ref)
    except ScanError as error:
        return f"refused {error.code}"
    if len(refs) > 1:
        return "read, split into volumes"
    if ref.format != "dicom":
        return "read"
    return f"read, {agrees(path, scan, lossy)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "dicom"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args().folder
    if not folder.is_dir():
        sys.exit(f"{folder}: not there")
    warnings.simplefilter("ignore")
    table: dict[str, Counter[str]] = defaultdict(Counter)
    differing = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = syntax_of(path)
        word = outcome(path, scan_sources([path]), any(part in name for part in LOSSY) and "Lossless" not in name)
        table[name][word] += 1
        if "DIFFERS" in word:
            differing.append((path.name, word))
    print("| transfer syntax | files | outcomes |\n|---|---|---|")
    for name, counts in sorted(table.items()):
        told = "; ".join(f"{count} {word}" for word, count in counts.most_common())
        print(f"| {name} | {counts.total()} | {told} |")
    total = Counter(word.split(",")[0].split()[0] for counts in table.values() for word in counts.elements())
    print(f"\n{sum(total.values())} files: {dict(total)}; differing: {differing or 'none'}")


if __name__ == "__main__":
    main()
