"""listen and pull at the command line: arguments, exit codes, and what they say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

AT = ["--from", "http://127.0.0.1:1/dicom-web"]


@pytest.fixture
def empty_service():
    """A DICOMweb service that holds nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["listen", "in"],
        ["listen", "in", "--allow", "A", "--allow-any"],
        ["listen", "in", "--allow", "A" * 17],
        ["listen", "in", "--allow", "A", "--aet", "B\\C"],
        ["listen"],
        ["pull", "in"],
        ["pull", "in", "--from", "ftp://host"],
        ["pull", "in", "--from", "https://me:verysecret@host"],
        ["pull", "in", "--from", "dicom://host"],
        ["pull", "in", *AT, "--study", "../x"],
        ["pull", "in", *AT, "--series", "Secret"],
        ["pull", "in", *AT, "--since", "yesterday"],
        ["pull", "in", *AT, "--tries", "0"],
        ["pull", "in", *AT, "--since", "2026-13-45"],
        ["pull", "in", *AT, "--since", "2026-02-01", "--until", "2026-01-01"],
        ["pull", "in", *AT, "--limit", "-1"],
        ["pull", "in", *AT, "--max-object-gib", "inf"],
        ["pull", "in", *AT, "--reserve-gib", "nan"],
        ["pull", "in", "--from", "http://[::1/x"],
        ["listen", "in", "--allow", "A", "--port", "65536"],
        ["listen", "in", "--allow", "A", "--idle-seconds", "0"],
        ["listen", "in", "--allow", "A", "--max-associations", "0"],
        ["pull", "in", *AT, "--destination", "", "--aet", ""],
    ],
)
def test_wrong_use_is_told_in_a_line_without_passwords(command, arguments):
    told = command(*arguments)
    assert told.code == 2, told
    assert told.out == ""
    assert "Traceback" not in told.error
    assert "verysecret" not in told.error


def test_a_service_that_is_not_there_is_a_failure(command, monkeypatch):
    told = command("pull", "in", *AT, "--tries", "1")
    assert (told.code, told.out) == (1, "")
    assert told.error == "scanshift: the service could not be read from (ConnectError)\n"


def test_nothing_to_pull_is_no_failure(command, empty_service, tmp_path):
    told = command("pull", "in", "--from", empty_service)
    assert told.code == 0, told.error
    assert told.out.splitlines() == ["objects: nothing found", "series: nothing found", "0 objects missing"]
    told = command("pull", "in", "--from", empty_service, "--json")
    assert json.loads(told.out) == {"series": {}, "objects": {}, "missing": 0, "trouble": []}
    told = command("pull", "in", "--from", empty_service, "--dry-run")
    assert told.out == "0 series, 0 images\n"
    assert not list((tmp_path / "in").glob("[!.]*"))


def test_a_port_that_is_taken_is_a_failure(command, empty_service):
    port = empty_service.rpartition(":")[2]
    told = command("listen", "in", "--port", port, "--allow", "A")
    assert told.code == 1
    assert told.error.startswith(f"scanshift: 127.0.0.1 port {port}: cannot listen there")


def test_an_incoming_folder_that_is_a_file_is_a_failure(command, tmp_path):
    (tmp_path / "in").write_text("x")
    told = command("listen", "in", "--allow", "A")
    assert told.code == 1
    assert "not a folder" in told.error


@pytest.mark.parametrize("token", ["very\u00f6secret", "very\nsecret"])
def test_a_token_that_cannot_be_sent_is_wrong_use_and_not_shown(command, monkeypatch, token):
    monkeypatch.setenv("SCANSHIFT_PACS_TOKEN", token)
    told = command("pull", "in", *AT, "--tries", "1")
    assert (told.code, told.out) == (2, "")
    assert "secret" not in told.error
    assert "Traceback" not in told.error
