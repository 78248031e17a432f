"""Reports of every verb, made of scans whose headers, names and labels try to get into a page."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from pipeline.check.survey import check_sources
from pipeline.check.trial import load_trial
from pipeline.check.write import write_check
from pipeline.config import make_config
from pipeline.evaluate.compare.write import compare
from pipeline.evaluate.validate import validate
from pipeline.ingest.convert import convert
from pipeline.ingest.intake import take_in
from pipeline.ingest.scan_folder import scan_sources
from pipeline.learn.adapt import adapt
from pipeline.learn.plan import make_plan
from pipeline.score.folder import score_folder
from pipeline.shift.compare import Sides
from pipeline.shift.compare import compare as compare_sides
from pipeline.shift.sides import Setting
from pipeline.shift.write import write_shift
from pipeline.watch import Watch
from pipeline.workspace import Workspace

IMAGE = '"><img src=x onerror="window.ran=1">'
SCRIPT = "<script>window.ran=2</script>"
LINK = '=HYPERLINK("http://x.example")'
CALL = "+cmd|' /C calc'!A0"
CLASSES = (LINK, IMAGE)
PATIENT = "Mueller_Hans"
HEADER = {
    "PatientName": f"{PATIENT}<script>window.ran=3</script>",
    "SeriesDescription": SCRIPT,
    "StudyDescription": LINK,
    "ManufacturerModelName": "<svg onload=window.ran=4>",
    "Manufacturer": "@SUM(1)",
    "BodyPartExamined": "<B ONCLICK=1>",
    "InstitutionName": CALL,
    "ProtocolName": "-2+3",
}
ONE_CLASS = {"task": "one_class", "detector": "padim", "policy": "false_alarm=0.2"}
NETWORK = {"backbone": "squeezenet1_1", "weights": "none", "image_size": 64, "device": "cpu"}


@dataclass(frozen=True)
class Written:
    """A folder below which every verb wrote, and its reports by name."""

    root: Path
    pages: dict[str, Path]

    def files(self, ending):
        return sorted(self.root.rglob(f"*{ending}"))


def plant(samples, folder):
    """Copies of sample radiographs with such headers and file names, and their labels.csv."""
    with (samples / "radiographs" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folder.mkdir(parents=True)
    planted = []
    for n, row in enumerate(rows[::2]):
        ds = pydicom.dcmread(samples / "radiographs" / row["path"])
        name = f"=1+{n} <img src=x onerror=window.ran=5>.dcm"
        with pydicom.config.disable_value_validation():
            for keyword, value in HEADER.items():
                setattr(ds, keyword, value)
            ds.save_as(folder / name)
        planted.append(
            {
                "path": name,
                "label": CLASSES[row["label"] == "opacity"],
                "patient": f"{PATIENT}_{row['patient']}",
                "site": {"north": SCRIPT, "south": CALL}[row["site"]],
                "split": row["split"],
                "<svg onload=window.ran=6>": ("@SUM(1)", "<b>-1</b>")[n % 2],
            }
        )
    (folder / "<script>window.ran=7.dcm").write_bytes(b"")
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, planted[0])
        writer.writeheader()
        writer.writerows(planted)


@pytest.fixture(scope="session")
def written(samples, volume_bundle, reference_bundle, new_bundle, tmp_path_factory):
    """Every report once; the planted scans go through all verbs, plain volumes and a detector through validation."""
    root = tmp_path_factory.mktemp("pages")
    space, watch, scans, out = Workspace(root / "ws").open(), Watch(), root / "scans", root / "out"
    plant(samples, scans)
    labels = scans / "labels.csv"
    take_in([str(scans)], space, watch)
    convert(scan_sources([scans])[:3], out / "converted")
    made = _adapted(labels, space, root / "bundle", root / "run", strategy="linear_probe", classes=list(CLASSES))
    other = new_bundle(root / "other", classes=CLASSES, size=64)
    validate(root / "bundle", labels, space, out / "validation", watch, shortcuts=True)
    validate(other, labels, space, out / "validation_b", watch)
    validate(volume_bundle, samples / "volumes" / "labels.csv", space, out / "volumes", watch)
    plain = samples / "radiographs" / "labels.csv"
    detector = _adapted(plain, space, root / "detector", root / "run_detector", **ONE_CLASS)
    validate(reference_bundle, plain, space, out / "like_before", watch)
    validate(root / "detector", plain, space, out / "one_class", watch)
    compare(out / "validation", out / "validation_b", out / "compared")
    setting = Setting(make_config({}), space, watch)
    write_shift(compare_sides(Sides(reference_bundle, labels), setting), out / "shift")
    write_check(check_sources([scans], trial=load_trial(root / "bundle", "cpu")), out / "check")
    score_folder(scans, root / "bundle", out / "scores", device="cpu")
    pages = {name: out / name / "report.html" for name in ("validation", "like_before", "volumes", "one_class")}
    pages |= {"adapt": made.report, "adapt_one_class": detector.report, "compare": out / "compared" / "compare.html"}
    return Written(root, pages | {"shift": out / "shift" / "shift.html", "check": out / "check" / "check.html"})


def _adapted(labels, space, bundle, run, **changes):
    run.mkdir()
    return adapt(
        make_plan(labels, space, make_config({**NETWORK, "epochs": 1, **changes}), Watch()), space, bundle, run, Watch()
    )
