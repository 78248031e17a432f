"""The list of peers."""

import pytest

from pipeline.errors import ConfigError
from pipeline.pacs.network import printable
from pipeline.pacs.peers import Peer, allows, allows_host, parse_peer


def test_titles_with_and_without_a_host():
    assert parse_peer("CT1") == Peer("CT1")
    assert parse_peer("CT1@127.0.0.1") == Peer("CT1", frozenset({"127.0.0.1"}))


@pytest.mark.parametrize("text", ["", " ", "A" * 17, "A\\B", "A\n", "@127.0.0.1", "CT1@no such host"])
def test_what_is_no_title_or_host_is_refused(text):
    with pytest.raises(ConfigError):
        parse_peer(text)


def test_a_caller_must_have_title_and_address():
    peers = [parse_peer("CT1@127.0.0.1"), parse_peer("MR")]
    assert allows(peers, "CT1 ", "127.0.0.1")
    assert allows(peers, "CT1", "::ffff:127.0.0.1")
    assert not allows(peers, "CT1", "127.0.0.2")
    assert not allows(peers, "ct1", "127.0.0.1")
    assert allows(peers, "MR", "192.0.2.7")
    assert not allows(peers, "", "127.0.0.1")
    assert allows(None, "WHOEVER", "192.0.2.7")


def test_titles_from_the_network_are_printed_without_control_characters():
    assert printable("A\x1b[31m\nB") == "A?[31m?B"
    assert printable("  ") == "?"
    assert len(printable("x" * 100)) == 16


def test_a_host_is_known_before_a_title_is():
    named = (Peer("A", frozenset({"192.0.2.1"})), Peer("B", frozenset({"192.0.2.2"})))
    assert allows_host(named, "192.0.2.2")
    assert allows_host(named, "::ffff:192.0.2.1")
    assert not allows_host(named, "192.0.2.3")
    assert allows_host((*named, Peer("C")), "192.0.2.3")
    assert allows_host(None, "192.0.2.3")
    assert not allows_host((), "192.0.2.3")
