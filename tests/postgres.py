"""A real PostgreSQL: a server of our own in a temporary folder, reached by a Unix socket alone."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pipeline.ingest.catalog_server import open_engine


def program(name):
    """Path of a PostgreSQL program; Debian keeps them off the PATH."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    if not found:
        pytest.skip(f"PostgreSQL is not installed ({name})")
    return found


def other_user():
    """Who runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return pytest.skip("PostgreSQL refuses root, and there is no other user")


@contextlib.contextmanager
def running_server():
    """A server; gives the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path is 107 bytes at most
    user = other_user()
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(name, *arguments):
        command = [program(name), "-D", folder / "data", *arguments]
        return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **identity)

    try:
        run("initdb", "-U", "scanshift", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-w", "-l", folder / "log.txt", "-o", settings, "start")
        try:
            yield folder
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres():
    """The folder of the server's socket."""
    with running_server() as folder:
        yield folder


@pytest.fixture
def postgres_url(postgres, request):
    """URL of an empty database."""
    base = f"postgresql://scanshift@/%s?host={postgres}"
    name = f"test_{abs(hash(request.node.name)):x}"
    engine = open_engine(base % "postgres").execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    engine.dispose()
    return base % name
