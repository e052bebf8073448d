"""What a connection may hold that asks for nothing: tried over real sockets."""

import socket
import time
from contextlib import contextmanager

import httpx
import pytest
from running_service import running, write_models

from metseg.serve.connections import Connections
from metseg.serve.service import form, protocol
from metseg.serve.service.api import create_app

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def address(models, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "_room", Connections(4))
    monkeypatch.setattr(protocol, "_spare", Connections(2))
    monkeypatch.setattr(protocol, "HEALTH_SECONDS", 0.3)
    with running(create_app(models)) as client:
        client.close()
        yield client.base_url.host, client.base_url.port


@contextmanager
def connected(address):
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes it, sooner than within ten seconds."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def alive(address) -> bool:
    return httpx.get(f"http://{address[0]}:{address[1]}/health", trust_env=False).status_code == 200


def test_who_says_nothing_is_not_waited_for(address):
    with connected(address) as silent, connected(address) as slow:
        slow.sendall(b"GET /health HT")
        assert is_closed(silent) and is_closed(slow)
    assert alive(address)


def test_a_second_request_that_does_not_come_to_its_end(address):
    with connected(address) as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += kept.recv(65536)
        kept.sendall(b"GET /health HT")
        assert is_closed(kept)


def test_one_connection_too_many(address, monkeypatch):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 10)
    held = [socket.create_connection(address, timeout=10) for _ in range(4)]
    busy = httpx.get(f"http://{address[0]}:{address[1]}/models", trust_env=False)
    assert (busy.status_code, busy.json()["code"]) == (503, "busy")
    assert alive(address)  # which is told all the same
    with connected(address) as silent, connected(address), connected(address) as one_more:
        assert is_closed(one_more) and is_closed(silent)
    for each in held:
        each.close()
    time.sleep(0.1)
    answer = httpx.get(f"http://{address[0]}:{address[1]}/models", trust_env=False)
    assert answer.status_code == 200


def test_who_sends_byte_by_byte_is_cut_off(address, monkeypatch):
    monkeypatch.setattr(protocol, "_FREE_PIECES", 20)
    with connected(address) as drop:
        drop.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        drop.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                drop.sendall(b"1\r\nx\r\n")
                time.sleep(0.002)
    assert alive(address)


def test_an_upload_that_stalls_gives_its_seat_up(address, monkeypatch):
    monkeypatch.setattr(form, "_SILENT_SECONDS", 0.2)
    with connected(address) as stalled:
        stalled.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n--B")
        assert stalled.recv(65536).startswith(b"HTTP/1.1 408")
    assert alive(address)


def test_an_answer_that_nobody_reads_holds_no_connection(address, monkeypatch):
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.3)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(address)
        ask = b"GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf.settimeout(10)
        deaf.sendall(8 * ask)  # more than the system takes off the service's hands
        time.sleep(1)
        received = 0
        with pytest.raises(ConnectionError):
            while piece := deaf.recv(65536):
                received += len(piece)
            raise ConnectionError  # closed, not reset
    assert received < 7 * 1_500_000
    assert alive(address)
