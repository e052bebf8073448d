"""What the dashboard's server answers: one page, its kernel's websocket, and a plain sentence to all else."""

import logging
import re
from asyncio import sleep
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.web import HTTPError, authenticated
from tornado.websocket import WebSocketProtocol
from voila.tornado.handler import TornadoVoilaHandler

from metseg.serve.faults import where

TEMPLATE = Path(__file__).with_name("template")
_RETRY_SECONDS = 60
_LEAVING_SECONDS = 0.7
_FOR_WIDGETS = {"status", "comm_open", "comm_msg", "comm_close", "shutdown_reply"}
# Of what a kernel writes: the kind of a fault and where it was. Other text may quote an upload.
_TOLD = re.compile(
    r'  File ".*", line \d+, in .+$'
    r"|the dashboard failed: \w+ at$"
    r"|\w[\w.]*(?:Error|Exception|Warning|Interrupt)(?=:|$)"
)
_log = logging.getLogger(__name__)
_pages = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True)


def log_failure(kind: str) -> str:
    """Logs what kind of error kept the page from being made; for its template, where it leaves nothing."""
    _log.error("the dashboard could not be started: %s", kind)
    return ""


class _Guarded:
    """Refuses what a page of another site made a browser send, and what comes by a foreign name.

    It logs where a fault was; tornado would add its text and the request, token included.
    """

    async def prepare(self, **options) -> None:
        door, headers = self.settings["door"], self.request.headers
        if not door.knows(headers.get("host", "")):
            raise HTTPError(421)
        if door.is_foreign(headers):
            raise HTTPError(403)
        self.set_header("X-Content-Type-Options", "nosniff")
        await super().prepare(**options)

    def log_exception(self, kind, error, trace) -> None:
        if not isinstance(error, HTTPError):
            self.log.error("a request failed: %s", where(error))


class PageHandler(_Guarded, TornadoVoilaHandler):
    """The dashboard's page. Its head is sent before a kernel is there, so that something is seen at once."""

    async def prepare(self) -> None:
        await super().prepare(_redirect_to_login=False)

    @authenticated
    async def get(self, path: str = "") -> None:
        if path:
            raise HTTPError(404)
        if not self.kernel_manager.has_room():
            await sleep(_LEAVING_SECONDS)  # who reloads gives a seat up a moment after asking for one
            if not self.kernel_manager.has_room():
                raise HTTPError(503)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(_pages.get_template("shell.html").render())
        await self.flush()
        try:
            async for html in self.get_generator():
                self.write(html)
        except Exception as error:  # half a page is out, so the sentence has to follow on it
            full = isinstance(error, HTTPError) and error.status_code == 503
            if not full:
                self.log.error("the dashboard's page could not be made: %s", where(error))
            self.write(self._sentence(503 if full else 500))

    def write_error(self, status_code: int, **_) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if status_code == 503:
            self.set_header("Retry-After", str(_RETRY_SECONDS))
        self.finish(_pages.get_template("head.html").render() + self._sentence(status_code))

    def _sentence(self, status_code: int) -> str:
        page = _pages.get_template("sentence.html")
        return page.render(status=status_code, retry=_RETRY_SECONDS, home=self.base_url)


class PageConnection(ZMQChannelsWebsocketConnection):
    """Passes on what widgets need; no source, no output and no traceback leaves the server.

    Voilà's own filter takes every binary message for one of the newer protocol, and never comes back.
    """

    def handle_outgoing_message(self, stream: str, outgoing_msg: list) -> None:
        _, (_, header, _, _, content, *_) = self.session.feed_identities(outgoing_msg)
        kind = self.session.unpack(header)["msg_type"]
        if kind in _FOR_WIDGETS:
            super().handle_outgoing_message(stream, outgoing_msg)
        elif kind == "stream":
            lines = map(_TOLD.match, self.session.unpack(content)["text"].splitlines())
            told = "\n".join(found[0] for found in lines if found)
            self.log.error("A page's kernel says: %s", told or "something that may quote an upload")

    def on_restart_failed(self) -> None:
        """Kernels are not restarted: a page cannot go on with one that has forgotten it."""
        self._send_status_message("dead")


class ChannelsHandler(_Guarded, KernelWebsocketHandler):
    """The page's websocket. jupyter_server pings it every 30 s, and gives up after 90 s of silence."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        protocol = super().get_websocket_protocol()
        if protocol is not None:
            protocol.params.ping_interval = 0  # tornado would ping as well, and take milliseconds for seconds
        return protocol

    def write_message(self, message: bytes | str, binary: bool = False):
        written = super().write_message(message, binary)
        # A page may close while a message is on its way to it; nobody has to hear of that.
        written.add_done_callback(lambda task: task.cancelled() or task.exception())
        return written

    def write_error(self, status_code: int, **_) -> None:
        self.finish()  # jupyter_server's page for it has parts that are not served here


class KernelHandler(_Guarded, APIHandler):
    """Tells a page that lost its connection whether its kernel is still there."""

    @authenticated
    async def get(self, kernel_id: str) -> None:
        if kernel_id not in self.kernel_manager:
            raise HTTPError(404)
        self.finish({"id": kernel_id})


class EndHandler(_Guarded, APIHandler):
    """A page that is closed gives its kernel up."""

    def check_xsrf_cookie(self) -> None:
        """The kernel's id is a secret of the page, so nobody else's page can send this."""

    @authenticated
    async def post(self, kernel_id: str) -> None:
        await self.kernel_manager.shutdown_kernel(kernel_id)
        self.set_status(204)
