"""What passes between a page and its kernel, and how much of it may wait; no server."""

import asyncio
import json
import logging
import struct
import traceback
from types import SimpleNamespace

import pytest
from jupyter_client.session import Session
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

from metseg.serve.dashboard import channels
from metseg.serve.dashboard.channels import ChannelsHandler, PageConnection, Waiting, from_page
from metseg.serve.faults import where


def message(kind: str, content: object, **others) -> dict:
    return {
        "header": {"msg_id": "1", "msg_type": kind},
        "parent_header": {},
        "content": content,
        "channel": "shell",
        **others,
    }


CUSTOM = message("comm_msg", {"comm_id": "a", "data": {"method": "custom"}})
OPEN = message("comm_open", {"comm_id": "a", "target_name": "jupyter.widget.control", "data": {"x": "y"}})


def binary(sent: dict, *buffers: bytes) -> bytes:
    parts = [json.dumps(sent).encode(), *buffers]
    starts = [4 * (len(parts) + 1) + sum(map(len, parts[:place])) for place in range(len(parts))]
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *starts) + b"".join(parts)


# ---- what passes ----


def test_what_a_page_sends_passes():
    assert from_page(json.dumps(CUSTOM))["content"] == CUSTOM["content"]
    assert from_page(binary(CUSTOM, b"scan"))["buffers"] == [b"scan"]
    assert from_page(json.dumps(OPEN))["content"] == OPEN["content"] | {"data": {}}


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "[]",
        "1",
        "[" * 100_000,
        b"",
        struct.pack("!I", 2**32 - 1) + b"x",  # takes gigabytes of who believes it
        struct.pack("!II", 1, 2**31),
        binary(CUSTOM, *[b""] * 9),
        *(
            json.dumps(each)
            for each in (
                CUSTOM | {"channel": "control"},
                CUSTOM | {"channel": None},
                CUSTOM | {"header": None},
                CUSTOM | {"header": {"msg_type": "comm_msg", "msg_id": ["x"]}},
                message("comm_msg", {"comm_id": {}, "data": {"method": "custom"}}),
                message("comm_msg", {"comm_id": "a", "data": {"method": "else"}}),
                message("comm_msg", None),
                message("comm_open", {"comm_id": "a", "target_name": "jupyter.widget", "data": {}}),
                message("execute_request", {"code": "1", "comm_id": "a", "target_name": "x"}),
                message("shutdown_request", {"comm_id": "a", "data": {"method": "custom"}}),
            )
        ),
    ],
)
def test_nothing_else_does(sent):
    assert from_page(sent) is None


# ---- how much may wait ----


async def is_blocked(waiting: Waiting) -> bool:
    try:
        await asyncio.wait_for(waiting.room(), 0.05)
    except TimeoutError:
        return True
    return False


def test_a_page_is_read_no_further_while_its_kernel_has_much_before_it():
    async def try_it() -> None:
        waiting = Waiting()
        waiting.add("small", 9)
        assert not await is_blocked(waiting)
        waiting.add("large", channels.MOST_WAITING_BYTES)
        assert await is_blocked(waiting)
        blocked = asyncio.create_task(waiting.room())
        await asyncio.sleep(0)
        waiting.done("large")
        await asyncio.wait_for(blocked, 5)
        for number in range(300):
            waiting.add(str(number), 1)
        assert await is_blocked(waiting)
        waiting.clear()
        assert not await is_blocked(waiting)

    asyncio.run(try_it())


def test_a_kernel_that_answers_nothing_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(channels, "PATIENCE_SECONDS", 0.02)

    async def try_it() -> None:
        waiting = Waiting()
        waiting.add("large", channels.MOST_WAITING_BYTES + 1)
        for _ in range(2):
            await asyncio.wait_for(waiting.room(), 5)

    asyncio.run(try_it())


def test_a_page_that_asks_and_does_not_listen_is_closed(monkeypatch):
    closed, written = [], []

    async def try_it() -> None:
        def write(self, message, binary=False):
            written.append(asyncio.get_running_loop().create_future())
            return written[-1]

        monkeypatch.setattr(KernelWebsocketHandler, "write_message", write)
        handler = object.__new__(ChannelsHandler)
        handler.ws_connection = SimpleNamespace(stream=SimpleNamespace(close=lambda: closed.append(True)))
        half = bytes(channels.MOST_UNREAD_BYTES // 2)
        for _ in range(3):
            handler.write_message(half)
        written[0].set_result(None)
        await asyncio.sleep(0)
        handler.write_message(half)
        assert not closed  # one and a half, then two, never more than that before a message
        handler.write_message(b"one more")
        handler.write_message(b"one more")
        assert closed

    asyncio.run(try_it())


def test_the_server_pings_once_in_a_while_and_not_in_two_ways(monkeypatch):
    """A second pinger took milliseconds for seconds, and closed every page after half a minute."""
    theirs = SimpleNamespace(params=SimpleNamespace(ping_interval=30_000))
    monkeypatch.setattr(KernelWebsocketHandler, "get_websocket_protocol", lambda self: theirs)
    protocol = ChannelsHandler.get_websocket_protocol(object.__new__(ChannelsHandler))
    assert protocol.params.ping_interval == 0


# ---- the log ----


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def relayed(text: str, caplog, *, times: int = 1) -> str:
    """What the server's log says when a kernel writes a text."""
    session = Session(key=b"test")
    _, parts = session.feed_identities(
        session.serialize(session.msg("stream", {"name": "stderr", "text": text}))
    )
    connection = SimpleNamespace(session=session, log=logging.getLogger("test"), _told=0)
    for _ in range(times):
        PageConnection.handle_outgoing_message(connection, "iopub", [b"<IDS|MSG>", *parts])
    return caplog.text


def test_what_a_kernel_reports_reaches_the_log(caplog):
    logged = relayed(f"the dashboard failed: {where(raised('Jane Doe.png'))}\n", caplog)
    assert "the dashboard failed: ValueError at" in logged and "in raised" in logged
    assert "Jane" not in logged


def test_the_kind_of_a_fault_s_cause_reaches_the_log(caplog):
    error = raised("Jane Doe.png")
    error.__cause__ = MemoryError("of Jane Doe")
    logged = relayed(f"the dashboard failed: {where(error)}\n", caplog)
    assert "ValueError from MemoryError at" in logged and "Jane" not in logged


def test_what_else_a_kernel_writes_reaches_the_log_without_its_text(caplog):
    error = raised("Jane Doe.png\nholds 417")
    text = "opening Jane Doe.png\n" + "".join(traceback.format_exception(error))
    logged = relayed(text, caplog)
    assert "in raised" in logged and "ValueError" in logged
    assert "Jane" not in logged and "417" not in logged


def test_a_kernel_that_never_stops_fills_no_log(caplog):
    assert relayed("Jane Doe.png", caplog, times=200).count("something") == 50


def test_a_kernel_that_only_chatters_leaves_a_line_that_quotes_nothing(caplog):
    logged = relayed("Jane Doe.png", caplog)
    assert "A page's kernel says: something" in logged and "Jane" not in logged
