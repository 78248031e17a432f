"""Network calls of a watched process, by strace and by the audit hook; nothing is sent anywhere."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.doctor import silence
from pipeline.doctor.addresses import Attempt, from_hook, from_strace
from pipeline.doctor.silence import HOOK, PROBE, STRACE, choose_watch, run_hooked, run_traced

LINES = """
12 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("203.0.113.7")}, 16) = -1 EINPROGRESS
12 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("203.0.113.7")}, 16 <unfinished ...>
13 connect(4, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 0
13 connect(5, {sa_family=AF_INET, sin_port=htons(4200), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
13 connect(5, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "::1", &sin6_addr)}, 28) = 0
13 connect(6, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT
13 connect(6, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 42) = 0
13 sendto(7, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 1
13 bind(8, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("0.0.0.0")}, 16) = 0
13 bind(8, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0
13 bind(8, {sa_family=AF_PACKET, sll_protocol=htons(ETH_P_ALL)}, 20) = 0
13 accept4(9, {sa_family=AF_INET, sin_port=htons(5), sin_addr=inet_addr("203.0.113.9")}, [16], 0) = 3
13 recvfrom(9, "connect(", 8, 0, NULL, NULL) = 8
13 socket(AF_INET, SOCK_STREAM, 0) = 3
""".splitlines()


def test_what_strace_writes_is_read():
    found = from_strace(LINES)
    assert [str(one) for one in found if one.beyond] == [
        "connect 203.0.113.7 port 443",
        "connect 2001:db8::1 port 80",
        "connect /run/systemd/resolve/io.systemd.Resolve",
        "sendto 127.0.0.53 port 53",
        "bind 0.0.0.0 port 8080",
        "bind AF_PACKET",
    ]
    assert [str(one) for one in found if not one.beyond] == ["connect 127.0.0.1 port 4200", "connect ::1 port 80"]


def test_what_the_hook_writes_is_read():
    lines = ["connect\t203.0.113.7\t443\n", "look-up\tlocalhost\t0\n", "look-up\texample.org\t0\n", "bind\t\t0\n"]
    assert [one.beyond for one in from_hook(lines)] == [True, False, True, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_within(host):
    assert not Attempt("connect", host, 80).beyond


@pytest.mark.parametrize("host", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "0.0.0.0", "::", "169.254.169.254"])
def test_all_else_is_beyond(host):
    assert Attempt("connect", host, 80).beyond


def may_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROBE!r}]); sys.exit('told')"


@pytest.mark.parametrize("run", [run_traced, run_hooked])
def test_a_call_of_a_child_is_seen(run):
    if run is run_traced and not may_trace():
        pytest.skip("strace is not installed, or may not trace here")
    done = run([sys.executable, "-c", CHILD], os.environ, 60)
    assert (done.code, done.error) == (1, "told\n")
    assert [str(one) for one in done.attempts if one.beyond] == ["connect 192.0.2.1 port 9"]
    assert run([sys.executable, "-c", "pass"], os.environ, 60).attempts == ()


def test_a_name_that_is_looked_up_is_seen_by_the_hook():
    done = run_hooked([sys.executable, "-c", "import socket; socket.gethostbyname('127.0.0.1')"], os.environ, 60)
    assert [str(one) for one in done.attempts] == ["look-up 127.0.0.1"]


def test_the_way_of_watching_has_to_prove_itself(monkeypatch):
    name = choose_watch(os.environ)[1]
    assert name == (STRACE if may_trace() else HOOK)
    monkeypatch.setattr(silence, "run_traced", lambda *_: silence.Watched(1, "not permitted", ()))
    assert choose_watch(os.environ)[1] == HOOK
    monkeypatch.setattr(silence, "run_hooked", lambda *_: silence.Watched(0, "", ()))
    assert choose_watch(os.environ) is None


def test_what_takes_too_long_is_ended():
    with pytest.raises(subprocess.TimeoutExpired):
        run_hooked([sys.executable, "-c", "import signal; signal.pause()"], os.environ, 1)
