"""Names that the service and the dashboard go by, and requests that pages of other sites made."""

import socket

import pytest

from metseg.base.errors import MetsegError
from metseg.serve.door import Door

DOOR = Door.of(["Metseg.Example"], ["https://viewer.example"])


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8000", True),
        ("127.0.0.1", True),
        ("192.168.1.7:8000", True),
        ("[::1]:8000", True),
        ("metseg.example", True),
        ("METSEG.example.:443", True),
        (socket.gethostname(), True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example@localhost", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[::1", False),
        ("lócalhost", False),
    ],
)
def test_names(host, known):
    assert DOOR.knows(host) is known


def test_any_name_needs_a_token():
    with pytest.raises(MetsegError, match="--token"):
        Door.of(["*"])
    hub = Door.of(["*"], guarded=True)
    assert hub.knows("hub.example") and hub.knows("localhost") and not DOOR.knows("*.example")


FETCH = {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
OPENED = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),  # curl
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, False),
        ({"sec-fetch-site": "none", **OPENED}, False),  # typed
        ({"sec-fetch-site": "cross-site", **OPENED}, False),  # a link
        ({"sec-fetch-site": "cross-site", **OPENED, "origin": "https://evil.example"}, True),  # its form
        ({"sec-fetch-site": "cross-site", **FETCH}, True),
        ({"sec-fetch-site": "same-site", **FETCH}, True),  # another port
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://viewer.example"}, False),
        ({"origin": "http://localhost:8000"}, False),  # a browser that says no more
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://["}, True),
        ({"origin": "http://localhost:8888"}, True),
    ],
)
def test_pages_of_other_sites(headers, foreign):
    assert DOOR.is_foreign({"host": "localhost:8000", **headers}) is foreign


@pytest.mark.parametrize(
    "origin", ["viewer.example", "https://viewer.example/", "ftp://viewer.example", "*", ""]
)
def test_what_is_no_origin(origin):
    with pytest.raises(MetsegError, match="no origin"):
        Door.of([], [origin])
