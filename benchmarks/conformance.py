"""How does ingest end on public conformance files? A table by transfer syntax, every file beside a second reader.

    python benchmarks/conformance.py [FOLDER] [--write docs/conformance.md]      (default: ../shared/dicom)

Every file is ingested on its own, then the whole folder at once. What is read is compared, voxel for voxel and slice
by slice at its own place in the patient, with `second_reader.py` (DICOM), nibabel (NIfTI) or imagecodecs (PNG, JPEG).
What is refused or ignored but holds pixels is decoded all the same, and its stored values are compared. Files with
one lossless image in several encodings are compared with each other.
"""

import argparse
import sys
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from second_reader import NoSecondReaderError, Second, read_second
from second_values import group, values

from pipeline.errors import ScanError
from pipeline.ingest.decoders import stored_frames
from pipeline.ingest.dicom_file import open_dicom
from pipeline.ingest.faults import FAULTS
from pipeline.ingest.read import read_scan
from pipeline.ingest.scan_folder import scan_sources
from pipeline.scan import Scan, SeriesRef

TWINS = {  # one image, uncompressed first, then in other encodings
    "pydicom-data/data_store/data": (
        "emri_small.dcm emri_small_RLE.dcm emri_small_big_endian.dcm emri_small_jpeg_2k_lossless.dcm "
        "emri_small_jpeg_ls_lossless.dcm",
        "MR2_UNCR.dcm MR2_J2KR.dcm",
        "OBXXXX1A.dcm OBXXXX1A_expb.dcm OBXXXX1A_rle.dcm",
        "OBXXXX1A_2frame.dcm OBXXXX1A_expb_2frame.dcm OBXXXX1A_rle_2frame.dcm",
        "liver.dcm liver_expb.dcm liver_j2k.dcm",
    ),
    "pydicom/src/pydicom/data/test_files": (
        "MR_small.dcm MR_small_RLE.dcm MR_small_bigendian.dcm MR_small_expb.dcm MR_small_implicit.dcm "
        "MR_small_jp2klossless.dcm MR_small_jpeg_ls_lossless.dcm MR_small_padded.dcm",
        "rtdose.dcm rtdose_expb.dcm rtdose_rle.dcm",
    ),
    "dcm_qa_ts/In": (" ".join(f"{n}.dcm" for n in range(1, 10)),),
}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 2e-3
GREY_LEVELS = 3  # of 256: how far decoders of a lossy image may lie apart
ROUNDING = 1  # of 256: converted colours
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass
class Tally:
    """Counts for the table and what is told below it."""

    table: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    decoders: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stored: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def syntax_of(path: Path) -> str:
    """Name of the transfer syntax; what is no DICOM by its file name's ending."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        return UID(ds.file_meta.get("TransferSyntaxUID", "none stated")).name
    except (InvalidDicomError, OSError, ValueError, RecursionError, AttributeError, KeyError):
        return f"not read as DICOM by pydicom ({path.suffix or 'no ending'})"


def compare(path: Path, refs: list[SeriesRef], tally: Tally) -> str:
    """Whether every volume that was read of a file is what a second reader makes of it."""
    scans = [read_scan(ref) for ref in refs]
    if refs[0].format == "nifti":
        return _told(path, tally, *_nifti(path, scans), "nibabel")
    if refs[0].format == "image":
        return _told(path, tally, *_image(path, scans[0]), "imagecodecs")
    try:
        second = read_second(path)
    except NoSecondReaderError as error:
        tally.wrong.append(f"{path.name}: NOT COMPARED")
        return f"read, NOT COMPARED ({error})"
    expected = values(second, inverted=scans[0].inverted)
    limit = GREY_LEVELS if second.lossy else ROUNDING if second.converted else 0
    return _told(path, tally, _dicom(scans, expected, second), limit, second.decoder)


def _told(path: Path, tally: Tally, worst: float, limit: int, decoder: str) -> str:
    tally.decoders[decoder] += 1
    kind = "lossy" if limit == GREY_LEVELS else "converted colour"
    if limit:
        tally.worst[kind] = max(tally.worst[kind], worst)
    if worst <= limit:
        return "read, equal" if limit == 0 else f"read, equal within {limit} grey levels of 256"
    tally.wrong.append(f"{path.name}: DIFFERS by {worst:g}")
    return "read, DIFFERS"


def _dicom(scans: list[Scan], expected: np.ndarray, second: Second) -> float:
    """Largest difference in levels of 256; infinite where a frame is missing, twice there or at another place."""
    frames = set(range(len(expected)))
    scale = _level(second)
    worst = 0.0
    for scan in scans:
        for k in range(scan.voxels.shape[2]):
            own = scan.voxels[:, :, k].swapaxes(0, 1)
            there = frames if scan.geometry == "patient" else frames & {k}
            places = [n for n in there if scan.geometry == "none" or _is_at(scan, k, second.dataset, n)]
            apart = {n: _apart(own, expected[n]) / scale for n in places}
            if not apart:
                return float("inf")
            best = min(apart, key=lambda n: apart[n])
            frames.remove(best)
            worst = max(worst, apart[best])
    return float("inf") if frames else worst


def _apart(own: np.ndarray, expected: np.ndarray) -> float:
    if own.ndim < expected.ndim:  # three equal channels became one
        own = own[..., None]
    differ = np.abs(own - expected.astype(np.float32))
    return float(np.where(differ <= 1e-6 * np.abs(expected), 0, differ).max())


def _level(second: Second) -> float:
    """One of 256 grey levels, in units of the values."""
    if second.stored.ndim == 4 or second.dataset.PhotometricInterpretation == "PALETTE COLOR":
        return 1.0
    place = group(second.dataset, 0, "PixelValueTransformationSequence") or second.dataset
    return float(2 ** int(second.dataset.BitsStored) / 256 * abs(float(place.get("RescaleSlope", 1))))


def _is_at(scan: Scan, k: int, dataset: pydicom.Dataset, frame: int) -> bool:
    """Whether slice k lies, with its rows and columns, where the header puts a frame."""
    places = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    position, orientation, spacing = (
        (group(dataset, frame, sequence) or dataset).get(keyword)
        for sequence, keyword in zip(
            places, ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"), strict=True
        )
    )
    affine = LPS @ scan.affine
    row, column = (
        np.array(orientation[:3], float) * float(spacing[1]),
        np.array(orientation[3:], float) * float(spacing[0]),
    )
    return bool(
        np.abs((affine @ [0, 0, k, 1])[:3] - np.array(position, float)).max() <= SAME_PLACE_MM
        and np.abs(affine[:3, 0] - row).max() <= SAME_PLACE_MM
        and np.abs(affine[:3, 1] - column).max() <= SAME_PLACE_MM
    )


def _nifti(path: Path, scans: list[Scan]) -> tuple[float, int]:
    image = nib.load(path)
    whole = image.get_fdata(dtype=np.float32).reshape(*image.shape[:3], -1)
    worst = max(np.abs(scan.voxels - whole[..., n]).max() for n, scan in enumerate(scans))
    placed = all(np.allclose(scan.affine, image.affine, atol=1e-4) for scan in scans)
    return (float(worst) if placed and len(scans) == whole.shape[3] else float("inf")), 0


def _image(path: Path, scan: Scan) -> tuple[float, int]:
    pixels = np.asarray(imagecodecs.imread(path))
    lossy = GREY_LEVELS if path.suffix != ".png" else 0
    return _apart(scan.voxels[:, :, 0].swapaxes(0, 1), pixels[..., :3] if pixels.ndim == 3 else pixels), lossy


def decoded_all_the_same(path: Path, tally: Tally) -> None:
    """Compare the stored values of a file that is no scan but holds pixels."""
    try:
        second = read_second(path)
        with open_dicom(path) as file:
            own = np.stack(list(stored_frames(file, range(len(second.stored)))))
    except ScanError as error:
        tally.stored[f"refused by our decoder too ({error.code})"] += 1
        return
    except (NoSecondReaderError, *FAULTS):
        tally.stored["without pixels that both can decode"] += 1
        return
    limit = GREY_LEVELS * 2 ** (int(second.dataset.BitsStored) - 8) if second.lossy else int(second.converted)
    worst = np.abs(own.astype(np.int64) - second.stored).max() if own.shape == second.stored.shape else np.inf
    tally.stored["decoded, equal" if worst <= limit else "decoded, DIFFERS"] += 1
    if worst > limit:
        tally.wrong.append(f"{path.name}: stored values DIFFER by {worst}")


def outcome(path: Path, tally: Tally) -> str:
    """How a file ended, in words for the table."""
    refs = scan_sources([path])
    first = next((ref for ref in refs if ref.status != "ok"), refs[0])
    try:
        if first.status == "ok":
            return compare(path, refs, tally)
        word = f"{first.status} {first.reason.partition(':')[0]}"
    except ScanError as error:
        word = f"refused {error.code}"
    decoded_all_the_same(path, tally)
    return word


def lines_of(folder: Path) -> tuple[list[str], list[str]]:
    """The page's measured part, and what is wrong."""
    tally = Tally()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        tally.table[syntax_of(path)][outcome(path, tally)] += 1
    lines = ["| transfer syntax | files | outcomes |", "|---|---|---|"]
    for name, counts in sorted(tally.table.items()):
        told = "; ".join(f"{count} {word}" for word, count in counts.most_common())
        lines.append(f"| {name} | {counts.total()} | {told} |")
    total = Counter(word.split(",")[0].split()[0] for c in tally.table.values() for word in c.elements())
    compared = twins(folder, tally)
    lines += [
        "",
        f"{total.total()} files: {_list(total)}. Differing: {', '.join(tally.wrong) or 'none'}.",
        f"Second readers of what was read: {_list(tally.decoders)}.",
        f"Largest differences, in grey levels of 256: {', '.join(f'{k} {v:.2g}' for k, v in tally.worst.items())}.",
        f"Of what was refused or ignored: {_list(tally.stored)}.",
        compared,
        "",
        *whole_folder(folder),
    ]
    return lines, tally.wrong


def whole_folder(folder: Path) -> list[str]:
    """How the same files end when the folder is given as a whole, where series gather their files."""
    refs = scan_sources([folder])
    rows = Counter(ref.status if ref.status == "ok" else f"{ref.status} {ref.reason.partition(':')[0]}" for ref in refs)
    several = Counter(ref.status for ref in refs if len(ref.files) > 1)
    return [f"The folder at once: {len(refs)} rows: {_list(rows)}. Rows of several files: {_list(several)}."]


def twins(folder: Path, tally: Tally) -> str:
    """Compare encodings of one image, of which the first is uncompressed: the proof that needs no second decoder."""
    equal = 0
    for place, groups in TWINS.items():
        for names in groups if (folder / place).is_dir() else ():
            first, *others = (_stored(folder / place / name) for name in names.split())
            for name, other in zip(names.split()[1:], others, strict=True):
                if np.array_equal(first, other):
                    equal += 1
                else:
                    tally.wrong.append(f"{name}: is not its uncompressed twin")
    return f"Equal to the uncompressed original of the same image: {equal}."


def _stored(path: Path) -> np.ndarray:
    with open_dicom(path) as file:
        return np.stack(list(stored_frames(file, range(int(file.dataset.get("NumberOfFrames") or 1)))))


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common()) or "none"


def main() -> None:
    """Print the measured part, or put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "dicom"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the measured part of this page")
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: not there")
    warnings.simplefilter("ignore")
    lines, wrong = lines_of(options.folder)
    print("\n".join(lines))
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        options.write.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
