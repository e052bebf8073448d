"""What is kept of a page whose connection is lost; the seats themselves are tried with a server."""

from types import SimpleNamespace

import pytest

from metseg.serve.dashboard.channels import MOST_UNREAD_BYTES
from metseg.serve.dashboard.seats import Seats


@pytest.fixture
def lost():
    """A manager whose one page lost its connection, and what the kernel's messages to it are given to."""
    manager, receive = Seats(), {}
    manager._kernels["k"] = SimpleNamespace()
    stream = SimpleNamespace(on_recv=lambda receiver: receive.update(iopub=receiver))
    manager.start_buffering("k", "k:page", {"iopub": stream})
    yield manager, receive["iopub"]
    manager._kernels.clear()


def test_what_a_page_misses_is_kept_for_it(lost):
    manager, receive = lost
    receive([b"1", b"2"])
    receive([b"3"])
    assert manager.get_buffer("k", "k:page")["buffer"] == [("iopub", [b"1", b"2"]), ("iopub", [b"3"])]


def test_too_much_is_dropped(lost):
    manager, receive = lost
    for part in (b"1", bytes(MOST_UNREAD_BYTES), b"2"):
        receive([part])
    assert manager.get_buffer("k", "k:page")["buffer"] == []
