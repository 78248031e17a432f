"""DICOMweb against servers that mislead: a server of our own on loopback answers whatever a test wants."""

import io
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest

from pipeline.errors import DiskSpaceError, PacsError
from pipeline.pacs import dicomweb
from pipeline.pacs.dicomweb import DicomWeb
from pipeline.pacs.limits import Room
from pipeline.pacs.query import FoundSeries, Query
from pipeline.pacs.store import IncomingStore
from pipeline.pacs.web_access import PASSWORD, TOKEN, USER
from tests.pipeline.pacs.sender import CT, image

SERIES = FoundSeries("1.2.826.8.1", "1.2.826.7.1", 2)
KIND = 'multipart/related; type="application/dicom"; boundary=BOUND'


def file_of(ds):
    """A DICOM file."""
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CT, ds.SOPInstanceUID
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def multipart(*files):
    """An answer with these parts."""
    parts = (b"--BOUND\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in files)
    return b"".join(parts) + b"--BOUND--"


def entry(study="1.2", series="1.3", modality="CT", images=2):
    """A series in the DICOM JSON model."""
    values = {"0020000D": study, "0020000E": series, "00080060": modality, "00201209": images}
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}


@pytest.fixture
def serve():
    """Starts a server whose answers a function makes: path and headers to status, headers, body."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status, headers, body = answer(self.path, self.headers)
                self.send_response(status)
                headers = {"Content-Length": str(len(body)), "Connection": "close", **headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/dicom-web"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def store(tmp_path):
    return IncomingStore(tmp_path / "in", "pull")


@pytest.fixture
def web(serve, store, monkeypatch, tmp_path):
    """A client of a server with these answers."""
    for name in (TOKEN, USER, PASSWORD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(dicomweb, "LONGEST_PAGE", 100_000)

    def start(answer, **options):
        room = Room(store.folder, reserve_bytes=options.pop("reserve_bytes", 0))
        return DicomWeb(serve(answer), store, room, **options)

    return start


def held(store):
    return sorted(path.relative_to(store.folder).parts[0] for path in store.folder.glob("*/*.dcm"))


def test_a_series_is_fetched_part_by_part_and_asked_for_as_stored(web, store):
    asked = []

    def answer(path, headers):
        asked.append((path, headers["Accept"], headers["Accept-Encoding"]))
        return 200, {"Content-Type": KIND}, multipart(*(file_of(image(1, k)) for k in range(2)))

    counts = Counter()
    web(answer).fetch(SERIES, counts)
    assert counts == {"stored": 2}
    assert len(held(store)) == 2
    (only,) = asked
    assert only == (
        "/dicom-web/studies/1.2.826.8.1/series/1.2.826.7.1",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "identity",
    )


def test_a_server_that_knows_no_transfer_syntax_is_asked_without(web, store):
    def answer(_path, headers):
        if "transfer-syntax" in headers["Accept"]:
            return 406, {}, b""
        return 200, {"Content-Type": KIND}, multipart(file_of(image(1, 0)))

    counts = Counter()
    web(answer).fetch(SERIES, counts)
    assert counts == {"stored": 1}


def test_objects_of_another_series_and_junk_are_refused_one_by_one(web, store):
    parts = [file_of(image(2, 0)), b"junk", file_of(image(1, 0)), b"", file_of(image(1, 1))[:200]]
    counts = Counter()
    web(lambda *_: (200, {"Content-Type": KIND}, multipart(*parts))).fetch(SERIES, counts)
    assert counts == {"refused": 1, "refused (NOT_DICOM)": 2, "stored": 1, "refused (CORRUPT_HEADER)": 1}
    assert len(held(store)) == 1
    assert list(store.receiving.iterdir()) == []


WHOLE = multipart(*(file_of(image(1, k)) for k in range(2)))
BROKEN = {
    "cut in an object": (200, {"Content-Type": KIND, "Content-Length": str(len(WHOLE))}, WHOLE[:-700], True),
    "cut at the end": (200, {"Content-Type": KIND}, WHOLE[: -len("--BOUND--")], True),
    "html": (200, {"Content-Type": "text/html"}, b"<html>log in, Secret^Name</html>", False),
    "redirect elsewhere": (302, {"Location": "http://192.0.2.1/"}, b"", False),
    "redirect here": (307, {"Location": "/dicom-web/other"}, b"", False),
    "server error": (503, {}, b"Secret^Name", True),
    "not there": (404, {}, b"", False),
    "not allowed": (401, {}, b"", False),
    "compressed": (200, {"Content-Type": KIND, "Content-Encoding": "gzip"}, b"x", False),
    "nothing": (204, {}, b"", False),
}


@pytest.mark.parametrize(("status", "headers", "body", "again"), BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_none_is_told(web, store, status, headers, body, again):
    counts = Counter()
    with pytest.raises(PacsError) as told:
        web(lambda *_: (status, headers, body)).fetch(SERIES, counts)
    assert told.value.again is again
    assert "Secret" not in str(told.value)
    assert "1.2.826" not in str(told.value)
    assert list(store.receiving.iterdir()) == []
    assert len(held(store)) == counts["stored"]


def test_too_much_is_cut_off(web, store):
    def answer(*_):
        return 200, {"Content-Type": KIND}, WHOLE

    with pytest.raises(PacsError, match="larger than allowed"):
        web(answer, object_bytes=1000).fetch(SERIES, Counter())
    with pytest.raises(PacsError, match="longer than allowed"):
        web(answer, series_bytes=1000).fetch(SERIES, Counter())
    with pytest.raises(DiskSpaceError):
        web(answer, reserve_bytes=2**60).fetch(SERIES, Counter())
    assert list(store.receiving.iterdir()) == []
    assert held(store) == []


def test_nobody_there_is_told_and_may_be_tried_again(store):
    with pytest.raises(PacsError, match="ConnectError") as told:
        DicomWeb("http://127.0.0.1:1/x", store, Room(store.folder)).fetch(SERIES, Counter())
    assert told.value.again


def test_series_are_found_page_by_page(web, monkeypatch):
    monkeypatch.setattr(dicomweb, "PAGE", 3)
    every = [entry(series=f"1.3.{number}") for number in range(8)]
    asked = []

    def answer(path, _headers):
        query = parse_qs(urlsplit(path).query)
        asked.append(query)
        start = int(query["offset"][0])
        return 200, {"Content-Type": "application/dicom+json"}, json.dumps(every[start : start + 3]).encode()

    query = Query(modality="CT", dates="20260101-", patient="A B&C", description="tho*")
    found = web(answer).find(query)
    assert found == [FoundSeries("1.2", f"1.3.{number}", 2) for number in range(8)]
    assert [query["offset"] for query in asked] == [["0"], ["3"], ["6"]]
    first = {name: values[0] for name, values in asked[0].items()}
    assert (first["Modality"], first["StudyDate"], first["PatientID"]) == ("CT", "20260101-", "A B&C")
    assert first["SeriesDescription"] == "tho*"


def test_a_server_that_repeats_a_page_for_ever_is_left(web, monkeypatch):
    monkeypatch.setattr(dicomweb, "PAGE", 2)
    body = json.dumps([entry(series="1.3.1"), entry(series="1.3.2")]).encode()
    assert len(web(lambda *_: (200, {}, body)).find(Query())) == 2


def test_answers_that_are_no_uids_or_not_what_was_asked_are_passed_over(web):
    answers = [
        entry(series="../../etc"),
        entry(study="1.2/series/9"),
        entry(modality="MR"),
        {},
        {"0020000E": "1.3"},
        {"0020000E": {"Value": [{"a": 1}]}, "0020000D": {"Value": []}},
        entry(series="1.3.7", images="many"),
    ]
    found = web(lambda *_: (200, {}, json.dumps(answers).encode())).find(Query(modality="CT"))
    assert found == [FoundSeries("1.2", "1.3.7", 0)]


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[1]", b"[" * 90_000, b"x" * 200_000, b"\xff\xfe", b'{"a": ' * 9_000, b""]
)
def test_a_query_that_gets_no_list_fails(web, body):
    with pytest.raises(PacsError):
        web(lambda *_: (200, {}, body)).find(Query())


def test_credentials_come_from_the_environment_or_netrc_alone(web, monkeypatch, tmp_path):
    seen = []

    def answer(_path, headers):
        seen.append(headers["Authorization"])
        return 200, {}, b"[]"

    web(answer).find(Query())
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password netrc-secret\n")
    (tmp_path / "netrc").chmod(0o600)
    web(answer).find(Query())
    monkeypatch.setenv(USER, "me")
    monkeypatch.setenv(PASSWORD, "env-secret")
    web(answer).find(Query())
    monkeypatch.setenv(TOKEN, "a-token")
    web(answer).find(Query())
    # base64 of me:netrc-secret and me:env-secret
    assert seen == [None, "Basic bWU6bmV0cmMtc2VjcmV0", "Basic bWU6ZW52LXNlY3JldA==", "Bearer a-token"]
