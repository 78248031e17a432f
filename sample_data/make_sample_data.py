"""Write the sample data: synthetic scans of invented people, the same bytes for the same seed.

python sample_data/make_sample_data.py [OUT] [--seed N]    writes, by default beside this script
python sample_data/make_sample_data.py [OUT] --check       compares instead; exit 1 on a difference
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from recipe.broken import NOTES, broken_files
from recipe.chance import number
from recipe.chest import place_opacity, ray_loss
from recipe.headers import dicom_file, radiograph
from recipe.organ import Lesion, inflated, volume
from recipe.sites import SITES, Site
from recipe.thorax import series

LABELS = ("path", "label", "patient", "site", "split")
LESIONS = ("path", "kind", "row", "column", "radius_px", "x_mm", "y_mm", "z_mm", "radius_mm")
FOLDERS = ("radiographs", "volumes", "ct", "broken", "incoming")
NODULE = Lesion((62.0, -14.0, 11.0), 13.0)


@dataclass(slots=True)
class Sample:
    """Everything written: file contents by path, and the rows of the tables."""

    files: dict[str, bytes] = field(default_factory=dict)
    labels: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    lesions: list[tuple[object, ...]] = field(default_factory=list)


def table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    """A CSV file in order of path."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *sorted(rows, key=lambda row: str(row[0]))])
    return text.getvalue().encode()


def identity(prefix: str, seed: int, *parts: object) -> str:
    """A PatientID whose digits say nothing about the label."""
    return f"{prefix}{number(seed, *parts) % 10**6:06d}"


def add_radiograph(sample: Sample, site: Site, patient: str, visit: str, *, path: str, opaque: bool) -> None:
    """Draw one radiograph, with an opacity or without."""
    view = site.view(patient, visit)
    opacity = place_opacity(patient, view, visit) if opaque else None
    loss = ray_loss(patient, view, visit, opacity)
    sample.files[path] = dicom_file(radiograph(site, patient, visit, site.expose(loss, patient, visit)))
    if opacity:
        where = (f"{opacity.row:g}", f"{opacity.column:g}", f"{opacity.radius_px:g}")
        sample.lesions.append((path, "opacity", *where, "", "", "", ""))


def add_radiographs(sample: Sample, seed: int) -> None:
    """48 patients a site, of whom 12 came twice; a third of the patients is for testing.

    Of those who came twice, every second one has an opacity on one of the two visits only.
    """
    rows = sample.labels.setdefault("radiographs/labels.csv", [])
    for site in SITES.values():
        for index in range(48):
            patient, split = identity(site.prefix, seed, site.name, index), ("train", "train", "test")[index % 3]
            for visit in "ab" if index % 4 == 1 else "a":
                opaque = bool((index // 3 + (visit == "b") * (index % 8 == 1)) % 2)
                name = f"{site.name}/{patient}{visit}.dcm"
                add_radiograph(sample, site, patient, visit, path=f"radiographs/{name}", opaque=opaque)
                rows.append((name, "opacity" if opaque else "normal", patient, site.name, split))


def add_volumes(sample: Sample, seed: int) -> None:
    """24 volumes of 24 patients, a third of them for testing."""
    rows = sample.labels.setdefault("volumes/labels.csv", [])
    for index in range(24):
        site, split = ("north", "south")[index % 2], ("train", "train", "test")[index // 4 % 3]
        patient, ill = identity(site[0].upper(), seed, "volume", index), index // 2 % 2 == 1
        name = f"{patient}.nii.gz"
        sample.files[f"volumes/{name}"], lesion = volume(site, patient, lesion=ill)
        rows.append((name, "lesion" if lesion else "normal", patient, site, split))
        if lesion:
            sample.lesions.append((f"volumes/{name}", "lesion", "", "", "", *lesion.centre_mm, lesion.radius_mm))


def add_ct(sample: Sample, seed: int) -> None:
    """One CT series; the order of the file names is not the order of the slices."""
    patient = identity("N", seed, "ct")
    for ds in series(patient, NODULE, shape=(16, 64, 64), signed=False):
        sample.files[f"ct/{number(ds.SOPInstanceUID) % 10**8:08d}.dcm"] = dicom_file(ds)
    sample.lesions.append(("ct", "nodule", "", "", "", *NODULE.centre_mm, NODULE.radius_mm))


def add_incoming(sample: Sample, seed: int) -> None:
    """A folder as it might arrive: unseen patients of both sites, odd names, and some rubbish."""
    for site in SITES.values():
        for index in range(12):
            patient = identity(site.prefix, seed, "incoming", site.name, index)
            ward = "north ward 3" if site.name == "north" else f"Süd/2024-0{1 + index % 2}"
            path = f"incoming/{ward}/{patient}.dcm"
            add_radiograph(sample, site, patient, "a", path=path, opaque=index % 3 == 1)
    sample.files["incoming/Süd/cut.dcm"] = sample.files["broken/cut.dcm"]
    sample.files["incoming/north ward 3/empty.dcm"] = b""
    sample.files["incoming/read me.txt"] = NOTES


def make(seed: int) -> dict[str, bytes]:
    """All files below sample_data, by path."""
    sample = Sample({f"broken/{name}": content for name, content in broken_files(seed).items()})
    add_radiographs(sample, seed)
    add_volumes(sample, seed)
    add_ct(sample, seed)
    add_incoming(sample, seed)
    tables = {path: table(LABELS, rows) for path, rows in sample.labels.items()}
    return sample.files | tables | {"lesions.csv": table(LESIONS, sample.lesions)}


def same(name: str, found: bytes, made: bytes) -> bool:
    """Whether two files are equal; gzipped ones by content, since zlib versions squeeze differently."""
    if found == made or not name.endswith(".gz"):
        return found == made
    shorter, longer = sorted((inflated(found), inflated(made)), key=len)
    return longer.startswith(shorter) if name.endswith("half.nii.gz") else longer == shorter


def differences(out: Path, files: dict[str, bytes]) -> list[str]:
    """What is missing, changed or too many below `out`, one line each."""
    present = {path.relative_to(out).as_posix() for top in FOLDERS for path in (out / top).rglob("*") if path.is_file()}
    lines = [f"too many: {name}" for name in sorted(present - set(files))]
    for name, content in sorted(files.items()):
        if not (out / name).is_file():
            lines.append(f"missing: {name}")
        elif not same(name, (out / name).read_bytes(), content):
            lines.append(f"changed: {name}")
    return lines


def main() -> None:
    """Read the command line, and write or compare."""
    top = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    top.add_argument("out", type=Path, nargs="?", default=Path(__file__).resolve().parent, metavar="OUT")
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    args = top.parse_args()
    files = make(args.seed)
    if args.check:
        lines = differences(args.out, files)
        print("\n".join(lines) or f"{len(files)} files are as they should be")
        sys.exit(1 if lines else 0)
    for name, content in files.items():
        (args.out / name).parent.mkdir(parents=True, exist_ok=True)
        (args.out / name).write_bytes(content)
    print(f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.2f} MB, in {args.out}")


if __name__ == "__main__":
    main()
