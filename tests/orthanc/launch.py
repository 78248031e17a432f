"""Runs a command beside a throw-away Orthanc in a network namespace that holds loopback only.

    unshare -n python tests/orthanc/launch.py COMMAND...      (as root; otherwise unshare -rn ...)

Debian's Orthanc listens on every address whatever its configuration says, so it is started only where there is
no other. Exit status: the command's; 3 if the network is not private or Orthanc does not start.
"""

import fcntl
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HTTP_PORT, DICOM_PORT, MOVE_PORT = 18042, 14242, 11113
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40


def main(command):
    """Start Orthanc, run the command, end Orthanc."""
    devices = {line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    if devices != {"lo"}:
        return fail("not a private network; unshare -n would be right")
    with socket.socket() as some:
        fcntl.ioctl(some, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "orthanc.json")
        configuration.write_text(json.dumps(settings(folder)))
        with Path(folder, "log.txt").open("wb") as log:
            orthanc = subprocess.Popen([shutil.which("Orthanc"), configuration], stdout=log, stderr=log)
        try:
            if not answers(orthanc):
                return fail(f"Orthanc does not start:\n{Path(folder, 'log.txt').read_text()[-2000:]}")
            return subprocess.run(command, check=False).returncode
        finally:
            orthanc.terminate()
            orthanc.wait(30)


def settings(folder):
    """Everything open, for nobody else is here; two listeners of ours are known for C-MOVE."""
    return {
        "Name": "test",
        "StorageDirectory": folder,
        "IndexDirectory": folder,
        "HttpPort": HTTP_PORT,
        "DicomPort": DICOM_PORT,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {
            "pull": ["SCANSHIFT", "127.0.0.1", MOVE_PORT],
            "listen": ["LISTENER", "127.0.0.1", MOVE_PORT + 1],
        },
        "Plugins": [str(PLUGIN)] if PLUGIN.exists() else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def answers(orthanc):
    """Whether it comes up."""
    for _ in range(200):
        if orthanc.poll() is not None:
            return False
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/system", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return True
    return False


def fail(text):
    """Say why, with an exit status of our own."""
    sys.stderr.write(f"{text}\n")
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
