import csv
import stat

from flows import ingest


def test_ingest_through_the_command_line(site):
    told = site.told["ingest"]
    assert told.code == 0, told.error
    assert told.out.splitlines()[-1] == "1 ignored, 84 ok, 2 refused"


def test_what_cannot_be_trusted_is_in_quarantine(site):
    path = site.workspace / "quarantine.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_the_task_is_the_function_behind_the_seal():
    assert ingest.ingest_task.fn.__wrapped__ is ingest.run_intake
