"""Both servers listen on an address, or say in one sentence why not."""

import socket

import pytest

from metseg.base.errors import MetsegError
from metseg.serve.listening import is_local, listen


def test_an_answer_does_not_wait_for_confirmations():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_told():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetsegError, match=f"127.0.0.1:{port} .*in use"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 0),
        ("256.1.1.1", 0),
        ("203.0.113.7", 0),
        ("no.such.host.invalid", 0),
        ("a" * 80, 0),
        ("ü..", 0),
        ("127.0.0.1", 70_000),
    ],
)
def test_an_address_that_is_none_of_this_machine_s_is_told(host, port):
    with pytest.raises(MetsegError, match=host or "empty"):
        listen(host, port)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("metseg.example", False),
        ("", False),
    ],
)
def test_who_reaches_a_host(host, local):
    assert is_local(host) is local
