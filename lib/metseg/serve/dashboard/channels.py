"""A page's websocket to its kernel: what may pass, and how much of it may wait."""

import asyncio
import json
import re
import struct
from contextlib import suppress
from typing import Any

from jupyter_server.services.kernels.connection.base import deserialize_binary_message
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.websocket import WebSocketClosedError, WebSocketProtocol

from metseg.serve.dashboard.guarded import Guarded

MOST_WAITING_BYTES, _MOST_WAITING = 2**24, 256  # messages on their way to a kernel
PATIENCE_SECONDS = 90.0
MOST_UNREAD_BYTES = 2**26  # on their way to a page
_CONTROL = "jupyter.widget.control"  # by which a page asks for its widgets
_METHODS = ("update", "custom", "request_states")
_MOST_BUFFERS = 8
_MOST_TOLD = 50  # times that a page's kernel is heard in the log
_FOR_WIDGETS = {"status", "comm_open", "comm_msg", "comm_close", "shutdown_reply"}
# Of what a kernel writes: the kind of a fault and where it was. Other text may quote an upload.
_TOLD = re.compile(
    r'  File ".*", line \d+, in .+$'
    r"|the dashboard failed: \w+(?: from \w+)? at$"
    r"|\w[\w.]*(?:Error|Exception|Warning|Interrupt)(?=:|$)"
)


def from_page(sent: str | bytes) -> dict[str, Any] | None:
    """Reads what a page sent; None for all that a page of ours never sends.

    It opens the one channel by which it asks for its widgets, and speaks to them; other widgets than its own
    it cannot make.
    """
    try:
        if isinstance(sent, bytes):
            if not 1 <= struct.unpack_from("!I", sent)[0] <= 1 + _MOST_BUFFERS:
                return None
            message = deserialize_binary_message(sent)
        else:
            message = json.loads(sent)
        kind, content = message["header"]["msg_type"], message["content"]
        opens = kind == "comm_open" and content["target_name"] == _CONTROL
        known = opens or (kind == "comm_msg" and content["data"]["method"] in _METHODS)
        texts = message["header"]["msg_id"], content["comm_id"]
        if message.get("channel") != "shell" or not known or not all(isinstance(each, str) for each in texts):
            return None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, struct.error):
        return None
    if kind == "comm_open":
        content["data"] = {}
    return message


class Waiting:
    """The messages that a kernel has before it, and whether there is room for more."""

    def __init__(self):
        self._bytes: dict[str, int] = {}
        self._room = asyncio.Event()

    def add(self, message: str, size: int) -> None:
        self._bytes[message] = size

    def done(self, message: str) -> None:
        self._bytes.pop(message, None)
        self._room.set()

    def clear(self) -> None:
        self._bytes.clear()
        self._room.set()

    async def room(self) -> None:
        """Returns when there is room; of a kernel that answers nothing any more, all is forgotten at last.

        Its page must be heard when it leaves.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self._bytes) > _MOST_WAITING or sum(self._bytes.values()) > MOST_WAITING_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            self.clear()


class PageConnection(ZMQChannelsWebsocketConnection):
    """Passes on what widgets need; no source, no output and no traceback leaves the server.

    Voilà's own filter takes every binary message for one of the newer protocol, and never comes back.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.waiting, self._told = Waiting(), 0

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        message = from_page(incoming_msg)
        if message and self.channels:
            self.waiting.add(message["header"]["msg_id"], len(incoming_msg))
            self.session.send(self.channels["shell"], message)

    def disconnect(self) -> None:
        super().disconnect()
        self.channels = {}
        self.waiting.clear()

    def handle_outgoing_message(self, stream: str, outgoing_msg: list) -> None:
        _, (_, header, parent, _, content, *_) = self.session.feed_identities(outgoing_msg)
        kind = self.session.unpack(header)["msg_type"]
        if kind == "status" and self.session.unpack(content)["execution_state"] == "idle":
            self.waiting.done(self.session.unpack(parent).get("msg_id"))
        if kind in _FOR_WIDGETS:
            super().handle_outgoing_message(stream, outgoing_msg)
        elif kind == "stream" and self._told < _MOST_TOLD:
            self._told += 1
            lines = map(_TOLD.match, self.session.unpack(content)["text"].splitlines())
            told = "\n".join(found[0] for found in lines if found)
            self.log.error("A page's kernel says: %s", told or "something that may quote an upload")

    def on_restart_failed(self) -> None:
        """Kernels are not restarted: a page cannot go on with one that has forgotten it."""
        self._send_status_message("dead")


class ChannelsHandler(Guarded, KernelWebsocketHandler):
    """The page's websocket. jupyter_server pings it every 30 s, and gives up after 90 s of silence."""

    _unread = 0

    async def on_message(self, ws_message: str | bytes) -> None:
        """Takes a message; the next is not read before this returns."""
        super().on_message(ws_message)
        if self.connection:
            await self.connection.waiting.room()

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        protocol = super().get_websocket_protocol()
        if protocol is not None:
            protocol.params.ping_interval = 0  # tornado would ping as well, and take milliseconds for seconds
        return protocol

    def write_message(self, message: bytes | str, binary: bool = False):
        if self._unread > MOST_UNREAD_BYTES and self.ws_connection:
            self.ws_connection.stream.close()  # it asks and does not listen; it may come back
        size = len(message)
        self._unread += size
        written = super().write_message(message, binary)
        written.add_done_callback(lambda task: self._was_written(task, size))
        return written

    def send_ping(self) -> None:
        with suppress(WebSocketClosedError):
            super().send_ping()

    def _was_written(self, task: asyncio.Future, size: int) -> None:
        self._unread -= size
        # A page may close while a message is on its way to it; nobody has to hear of that.
        task.cancelled() or task.exception()

    def write_error(self, status_code: int, **_) -> None:
        self.finish()  # jupyter_server's page for it has parts that are not served here
