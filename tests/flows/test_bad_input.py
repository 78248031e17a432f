"""What is wrong with the input is told in one line, with the right exit code, and leaves nothing half-written."""

import os
import shutil
from pathlib import Path

import pytest

PATIENT = "Mueller_Hans"
QUICK = ["--set", "backbone=squeezenet1_1", "--set", "weights=none", "--set", "image_size=64", "--set", "epochs=1"]


@pytest.fixture
def scans(samples, tmp_path):
    """Twelve radiographs of twelve patients and the way to write a labels.csv of them."""
    folder = tmp_path / "scans"
    folder.mkdir()
    found = sorted((samples / "radiographs" / "north").glob("*a.dcm"))[:12]
    for n, path in enumerate(found):
        shutil.copy(path, folder / f"{PATIENT}_{n}.dcm")

    def write(rows, header="path,label,patient,split"):
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
        return path

    write.rows = [
        [f"scans/{path.name}", "normal" if n % 2 else "opacity", f"{PATIENT}_{n}", ""]
        for n, path in enumerate(sorted(folder.iterdir()))
    ]
    return write


@pytest.fixture
def refused(command, tmp_path):
    """Runs a command that must fail in one line and leave nothing but the workspace behind."""

    def call(*arguments, code=1):
        told = command(*arguments)
        assert told.out == ""
        assert told.code == code, told.error
        assert len(told.error.splitlines()) == 1, told.error
        assert "Traceback" not in told.error
        assert PATIENT not in told.error
        assert not (tmp_path / "bundle").exists()
        assert not list(tmp_path.rglob("scores.csv"))
        assert not (tmp_path / "out").is_dir() or {p.name for p in (tmp_path / "out").iterdir()} <= {".scanshift"}
        assert not list(tmp_path.rglob("*.tmp"))
        return told.error

    return call


@pytest.fixture
def adapt(refused, tmp_path):
    """Runs adapt with quick settings, which must fail."""

    def call(labels, *settings, code=1):
        where = ["-w", tmp_path / "ws", "--bundle", tmp_path / "bundle"]
        more = [word for setting in settings for word in ("--set", setting)]
        return refused("adapt", labels, *where, *QUICK, *more, code=code)

    return call


def test_missing_labels(adapt, tmp_path):
    assert "No such file" in adapt(tmp_path / "nowhere.csv")


def test_labels_that_are_a_folder(adapt, tmp_path):
    assert "directory" in adapt(tmp_path)


def test_empty_labels(adapt, tmp_path):
    (tmp_path / "labels.csv").touch()
    assert "no header row" in adapt(tmp_path / "labels.csv")


def test_labels_without_rows(adapt, scans):
    assert "no rows below the header" in adapt(scans([]))


@pytest.mark.parametrize(("header", "column"), [("file,label", "path"), ("path,diagnosis", "label")])
def test_labels_without_a_needed_column(adapt, scans, header, column):
    assert f"needs a column `{column}`" in adapt(scans([row[:2] for row in scans.rows], header))


def test_labels_that_name_missing_files(adapt, scans):
    rows = [*scans.rows, [f"scans/{PATIENT}_gone.dcm", "normal", "x", ""], ["scans/none.dcm", "normal", "y", ""]]
    assert "lines 14, 15 (2 of them) name files that are not there" in adapt(scans(rows))


def test_a_class_with_one_patient(adapt, scans):
    rows = [[path, "normal", patient, split] for path, _, patient, split in scans.rows]
    rows[0][1] = rows[1][1] = "opacity"
    rows[1][2] = rows[0][2]
    assert "'opacity' has 1 patient; at least 2 are needed" in adapt(scans(rows))


def test_one_class_only(adapt, scans):
    rows = [[path, "normal", patient, split] for path, _, patient, split in scans.rows]
    assert "one class only (normal)" in adapt(scans(rows))


def test_no_label_at_all(adapt, scans):
    assert "no row has a label" in adapt(scans([[path, "", patient, ""] for path, _, patient, _ in scans.rows]))


def test_only_test_rows(adapt, scans):
    assert "no labelled row is train or val" in adapt(scans([[*row[:3], "test"] for row in scans.rows]))


def test_duplicate_rows(adapt, scans):
    assert "lines 2 and 14 name the same series" in adapt(scans([*scans.rows, scans.rows[0]]))


def test_a_label_that_is_not_in_classes(adapt, scans):
    error = adapt(scans(scans.rows), "classes=[normal,nodule]")
    assert "label 'opacity' (line 2) is not in classes (normal, nodule)" in error


def test_a_normal_class_that_cannot_be_told(adapt, scans):
    rows = [[path, "a" if label == "normal" else "b", *rest] for path, label, *rest in scans.rows]
    assert "which class is the normal one?" in adapt(scans(rows))


def test_a_patient_on_two_sides(adapt, scans):
    rows = [[*row[:3], "train"] for row in scans.rows]
    rows[0][2], rows[0][3] = rows[1][2], "test"
    assert "1 patient stands on two sides of the split" in adapt(scans(rows))


def test_an_unknown_split(adapt, scans):
    assert "split 'holdout', expected one of" in adapt(scans([[*row[:3], "holdout"] for row in scans.rows]))


def test_scans_of_two_kinds(adapt, scans, samples):
    rows = [*scans.rows, [str(samples / "volumes" / "N045456.nii.gz"), "normal", "v", "train"]]
    assert "scans of several kinds" in adapt(scans(rows))


def test_scans_that_cannot_be_read(adapt, scans, samples):
    rows = [[str(path), label, "", ""] for path, label in zip(
        sorted((samples / "broken").glob("*.dcm")), ("normal", "opacity", "normal"), strict=True
    )]  # fmt: skip
    assert "no row could be read" in adapt(scans(rows))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("colour=blue", "known keys: classes"),
        ("epochs=0", "config: epochs: "),
        ("learning_rate=fast", "config: learning_rate: "),
        ("image_size=[", "the value is not YAML"),
        ("epochs", "expected key=value"),
        ("device=tpu", "config: device: "),
        ("policy=sometimes", "expected false_alarm=0.05"),
    ],
)
def test_settings_that_make_no_sense_are_wrong_use(adapt, scans, setting, words):
    assert words in adapt(scans(scans.rows), setting, code=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [("epochs: [", "cannot be read as YAML"), ("epochs", "expected `key: value` lines"), ("epoch: 3", "known keys")],
)
def test_a_config_file_that_makes_no_sense_is_wrong_use(refused, scans, tmp_path, text, words):
    (tmp_path / "config.yaml").write_text(text)
    where = ["-w", tmp_path / "ws", "--bundle", tmp_path / "bundle", "--config", tmp_path / "config.yaml"]
    assert words in refused("adapt", scans(scans.rows), *where, code=2)


@pytest.mark.parametrize(("setting", "words"), [("strategy=magic", "lp_ft"), ("backbone=magic", "resnet18")])
def test_an_unknown_name_lists_what_is_known(adapt, scans, setting, words):
    error = adapt(scans(scans.rows), setting)
    assert "magic" in error
    assert words in error


def test_weights_that_are_not_here(adapt, scans, tmp_path, monkeypatch):
    def no_network(*_arguments, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("SCANSHIFT_WEIGHTS", "")
    error = adapt(scans(scans.rows), "weights=imagenet")
    assert "bring squeezenet1_1-b8a52dc0.pth from https://download.pytorch.org" in error
    assert str(tmp_path / "hub" / "hub" / "checkpoints") in error
    assert not list((tmp_path / "hub").rglob("*.pth"))


def test_a_weights_folder_without_a_manifest(adapt, scans, tmp_path, monkeypatch):
    monkeypatch.setenv("SCANSHIFT_WEIGHTS", str(tmp_path))
    assert "weights.json: no readable manifest" in adapt(scans(scans.rows), "weights=imagenet")


def test_a_bundle_path_that_holds_something_else(command, scans, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    told = command("adapt", scans(scans.rows), "-w", tmp_path / "ws", "--bundle", mine, *QUICK)
    assert told.code == 1
    assert "is not a bundle; choose another folder" in told.error.splitlines()[-1]
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_a_bundle_path_that_cannot_be_made(refused, scans, tmp_path):
    (tmp_path / "file").touch()
    where = ["-w", tmp_path / "ws", "--bundle", tmp_path / "file" / "bundle"]
    assert "not a folder" in refused("adapt", scans(scans.rows), *where, *QUICK)


def test_a_missing_workspace_drive(refused, scans, tmp_path):
    (tmp_path / "ws").touch()
    assert "not a folder" in refused("adapt", scans(scans.rows), "-w", tmp_path / "ws", "--bundle", tmp_path / "bundle")


@pytest.fixture
def score(refused, tmp_path, radiograph_bundle):
    """Runs score, which must fail."""

    def call(folder, *more, bundle=radiograph_bundle, out=tmp_path / "out", code=1):
        return refused("score", folder, "--bundle", bundle, "-o", out, *more, code=code)

    return call


def test_a_missing_folder(score, tmp_path):
    assert "no such file or folder" in score(tmp_path / "nowhere")


def test_an_empty_folder(score, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "nothing found to score" in score(tmp_path / "empty")
    assert "nothing found to score" in score(tmp_path / "empty", "--dry-run")


def test_a_share_that_is_not_mounted_leaves_the_scores_of_yesterday(command, radiograph_bundle, incoming, tmp_path):
    arguments = ["--bundle", radiograph_bundle, "-o", tmp_path / "out"]
    assert command("score", incoming, *arguments).code == 0
    before = (tmp_path / "out" / "scores.csv").read_bytes()
    shutil.rmtree(incoming)
    incoming.mkdir()
    assert command("score", incoming, *arguments).code == 1
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder(score, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o000)
    try:
        assert "cannot be listed" in score(tmp_path / "closed")
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_cannot_be_listed(score, incoming, monkeypatch):
    scandir = os.scandir

    def closed(folder):
        if Path(folder) == incoming:
            raise PermissionError(13, "Permission denied", str(incoming))
        return scandir(folder)

    monkeypatch.setattr("pipeline.ingest.find.os.scandir", closed)
    assert "cannot be listed (Permission denied)" in score(incoming)


def test_a_bundle_that_is_not_one(score, incoming, tmp_path):
    assert "not a bundle" in score(incoming, bundle=tmp_path / "nowhere")


def test_an_altered_bundle(score, incoming, radiograph_bundle, tmp_path):
    altered = Path(shutil.copytree(radiograph_bundle, tmp_path / "altered"))
    network = bytearray((altered / "models" / "model.pt").read_bytes())
    network[-1] ^= 1
    (altered / "models" / "model.pt").write_bytes(network)
    assert "models/model.pt was altered" in score(incoming, bundle=altered)


def test_a_bundle_with_a_file_too_many(score, incoming, radiograph_bundle, tmp_path):
    more = Path(shutil.copytree(radiograph_bundle, tmp_path / "more"))
    (more / "notes.txt").write_text("x")
    assert "notes.txt is not in SHA256SUMS" in score(incoming, bundle=more)


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there(score, incoming, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert f"device {device}: no such GPU" in score(incoming, "--device", device, code=2)


@pytest.mark.parametrize("device", ["banana", "cuda:x", ""])
def test_a_device_that_is_none(score, incoming, device):
    assert "expected auto, cpu, cuda or cuda:N" in score(incoming, "--device", device, code=2)


@pytest.mark.parametrize("workspace", [True, False])
def test_an_output_that_is_a_file(score, incoming, tmp_path, workspace):
    (tmp_path / "out").write_text("mine")
    assert "not a folder" in score(incoming, *(["-w", tmp_path / "ws"] if workspace else []))
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_below_a_file(score, incoming, tmp_path):
    (tmp_path / "file").touch()
    assert "not a folder" in score(incoming, "-w", tmp_path / "ws", out=tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_that_cannot_be_written(score, incoming, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot be written" in score(incoming, out=tmp_path / "closed" / "out")


def test_a_full_disk(score, incoming, monkeypatch):
    monkeypatch.setattr("pipeline.workspace.SPARE_BYTES", 2**60)
    assert "MiB free, about" in score(incoming)


@pytest.mark.parametrize(("cron", "zone"), [("every night", "UTC"), ("0 4 * * *", "Europe/Atlantis"), ("", "UTC")])
def test_a_schedule_that_makes_no_sense(refused, incoming, radiograph_bundle, tmp_path, monkeypatch, cron, zone):
    def started(_port):
        raise AssertionError("a server was started for a schedule that makes no sense")

    monkeypatch.setattr("flows.serve.start_server", started)
    monkeypatch.setattr("flows.serve.configure_prefect", lambda _home: None)
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "INFO")
    arguments = ["--bundle", radiograph_bundle, "-o", tmp_path / "out", "--cron", cron, "--timezone", zone]
    assert "not understood" in refused("serve", incoming, *arguments, code=2)


def test_volume_labels_for_a_radiograph_bundle(refused, samples, radiograph_bundle, tmp_path):
    rows = (samples / "volumes" / "labels.csv").read_text().replace("lesion", "opacity").splitlines()
    head, *rest = rows
    text = "\n".join([head, *(f"{samples / 'volumes'}/{row}" for row in rest)])
    (tmp_path / "labels.csv").write_text(text)
    error = refused(
        "validate", radiograph_bundle, tmp_path / "labels.csv", "-w", tmp_path / "ws", "-o", tmp_path / "out"
    )
    assert "no row could be measured (NOT_APPLICABLE: a volume; this bundle is for a radiograph)" in error


def test_validation_labels_of_unknown_classes(refused, samples, volume_bundle, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    error = refused("validate", volume_bundle, labels, "-w", tmp_path / "ws", "-o", tmp_path / "out")
    assert "is not in classes (normal, lesion)" in error


def test_validation_into_a_file(refused, samples, radiograph_bundle, tmp_path):
    (tmp_path / "out").touch()
    labels = samples / "radiographs" / "labels.csv"
    assert "not a folder" in refused(
        "validate", radiograph_bundle, labels, "-w", tmp_path / "ws", "-o", tmp_path / "out"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "nowhere", "-w", "ws"],
        ["convert", "nowhere", "-o", "out"],
        ["labels", "nowhere", "-o", "labels.csv"],
        ["demo", "--samples", "nowhere"],
        ["workspace", "clean", "-w", "nowhere"],
    ],
)
def test_what_is_missing_is_told_by_every_command(refused, arguments, tmp_path):
    assert "nowhere" in refused(*arguments)
    assert not (tmp_path / "labels.csv").exists()
    assert not (tmp_path / "demo_out").exists()


def test_labels_of_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no readable series below it" in refused("labels", tmp_path / "empty", "-o", tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()


def test_a_labels_file_in_a_folder_that_is_a_file(refused, samples, tmp_path):
    (tmp_path / "file").touch()
    refused("labels", samples / "incoming", "-o", tmp_path / "file" / "labels.csv")
