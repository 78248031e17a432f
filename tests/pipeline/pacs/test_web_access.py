"""Reaching a DICOMweb service: which addresses and certificates are refused."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from pipeline.errors import ConfigError, PacsError
from pipeline.pacs.dicomweb import DicomWeb
from pipeline.pacs.limits import Room
from pipeline.pacs.query import Query
from pipeline.pacs.store import IncomingStore
from pipeline.pacs.web_access import TOKEN


@pytest.fixture
def store(tmp_path):
    return IncomingStore(tmp_path / "in", "pull")


@pytest.mark.parametrize(
    "url", ["ftp://x/", "https:///x", "https://me:word@host/x", "https://host/x?y=1", "host/x", "http://192.0.2.1/x"]
)
def test_an_address_that_cannot_be_used_is_refused(store, monkeypatch, url):
    monkeypatch.setenv(TOKEN, "a-token")  # which is not sent over http
    with pytest.raises(ConfigError) as told:
        DicomWeb(url, store, Room(store.folder))
    assert "word" not in str(told.value).replace("password", "")


def test_a_certificate_that_nobody_vouches_for_is_told_and_not_tried_again(store, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    monkeypatch.setenv(TOKEN, "a-token")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with pytest.raises(ssl.SSLError), connection:  # the client hangs up
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(PacsError, match="certificate is not trusted") as told:
            DicomWeb(f"https://127.0.0.1:{server.getsockname()[1]}/x", store, Room(store.folder)).find(Query())
        thread.join(20)
    assert not told.value.again
