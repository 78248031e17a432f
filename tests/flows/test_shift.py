import json
import shutil

import pydicom
import pytest

from flows import shift

QUICK = ("--set", "backbone=squeezenet1_1", "--set", "weights=none", "--set", "image_size=64")


@pytest.fixture(scope="module")
def planted(samples, tmp_path_factory):
    """A folder of radiographs with a patient's name in its path and headers, and their UIDs."""
    folder, uids = tmp_path_factory.mktemp("planted") / "Mueller_Hans", []
    folder.mkdir()
    for n, path in enumerate(sorted((samples / "radiographs" / "south").rglob("*.dcm"))[:24]):
        ds = pydicom.dcmread(path)
        ds.PatientName, ds.PatientID, ds.ManufacturerModelName = "Mueller^Hans", f"Mueller_{n}", "DX of Mueller"
        uids.append(str(ds.SeriesInstanceUID))
        ds.save_as(folder / f"Mueller_Hans_{n}.dcm")
    return folder, uids


@pytest.fixture(scope="module")
def told(terminal, planted, reference_bundle, tmp_path_factory):
    """A bundle's reference statistics beside the planted folder, through the command line."""
    out = tmp_path_factory.mktemp("shift") / "out"
    return out, terminal.run("shift", reference_bundle, planted[0], "-o", out, "--json")


def test_shift_through_the_command_line(told):
    out, answer = told
    assert answer.code == 0, answer.error
    record = answer.record
    assert (record["page"], record["record"]) == (str(out / "shift.html"), str(out / "shift.json"))
    written = json.loads((out / "shift.json").read_text())
    assert written["verdict"] == record["verdict"]
    assert written["sides"]["incoming"]["used"] == 24
    assert {path.name for path in out.iterdir()} == {".scanshift", "shift.html", "shift.json"}


def test_neither_page_nor_record_nor_terminal_nor_prefect_names_anyone(told, planted):
    (out, answer), uids = told, planted[1]
    answers = answer.out.replace(str(out), "") + answer.error
    for text in (answers, (out / "shift.html").read_text(), (out / "shift.json").read_text()):
        assert "Mueller" not in text
        assert not any(uid in text for uid in uids)
    databases = list((out / ".scanshift" / "prefect").rglob("*.db"))
    assert databases
    for database in databases:
        raw = database.read_bytes()
        assert b"Mueller" not in raw
        assert not any(uid.encode() in raw for uid in uids)


def test_nothing_was_looked_up_outside(told, terminal):
    lines = terminal.connections.read_text().splitlines() if terminal.connections.exists() else []
    hosts = {line.split()[1] for line in lines if len(line.split()) > 1}
    assert hosts <= {"127.0.0.1", "::1", "localhost", "None", "0.0.0.0"}


def test_the_last_line_is_the_verdict(command, samples, tmp_path):
    labels = samples / "radiographs" / "labels.csv"
    answer = command(
        "shift", labels, labels, "--reference-site", "north", "--incoming-site", "south", "-o", tmp_path / "out", *QUICK
    )
    assert answer.code == 0, answer.error
    assert answer.out.splitlines()[-1].startswith("The incoming scans look different from the reference (p < 0.001")
    assert answer.out.splitlines()[-2] == f"page: {tmp_path / 'out' / 'shift.html'}"


def test_few_scans_end_with_exit_0_and_the_reason(command, samples, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((samples / "radiographs" / "south").rglob("*.dcm"))[:8]:
        shutil.copy(path, few)
    answer = command("shift", samples / "radiographs" / "north", few, "-o", tmp_path / "out", *QUICK)
    assert answer.code == 0
    assert answer.out.splitlines()[-1].startswith("Whether there is a shift cannot be told: 8 incoming scans")


def test_another_kind_is_refused_in_one_line(command, samples, radiograph_bundle, tmp_path):
    north = samples / "radiographs" / "north"
    answer = command("shift", north, samples / "volumes", "--bundle", radiograph_bundle, "-o", tmp_path / "out")
    assert (answer.code, answer.out) == (1, "")
    assert answer.error.splitlines()[-1].startswith("refused: incoming: its series are 24 volume OT")
    assert not (tmp_path / "out" / "shift.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--incoming-site", "south"), "only a labels.csv names sites"),
        (("--set", "strategy=lp_ft"), "strategy is not used by shift"),
        (("--seed", "-1"), "seed"),
        (("--device", "tpu"), "device"),
    ],
)
def test_wrong_use_is_exit_2_before_anything_is_written(command, samples, tmp_path, arguments, words):
    north = samples / "radiographs" / "north"
    answer = command("shift", north, north, "-o", tmp_path / "out", *QUICK, *arguments)
    assert answer.code == 2
    assert words in answer.error
    assert not (tmp_path / "out").exists()


def test_a_bundle_as_incoming_is_wrong_use(command, samples, radiograph_bundle, tmp_path):
    answer = command("shift", samples / "incoming", radiograph_bundle, "-o", tmp_path / "out")
    assert answer.code == 2
    assert "INCOMING is a bundle" in answer.error


def test_a_missing_or_empty_side_is_one_line(command, samples, tmp_path):
    (tmp_path / "empty").mkdir()
    for incoming in (tmp_path / "missing", tmp_path / "empty"):
        answer = command("shift", samples / "incoming", incoming, "-o", tmp_path / "out", *QUICK)
        assert (answer.code, answer.out) == (1, "")
        assert len(answer.error.splitlines()) >= 1
        assert str(incoming) in answer.error.splitlines()[-1]


def test_the_task_is_the_function_behind_the_seal():
    assert shift.shift_task.fn.__wrapped__ is shift.run_shift
