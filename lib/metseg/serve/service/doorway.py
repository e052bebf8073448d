"""What happens around every request: it is counted, timed, and answered even when the service fails."""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.serve.service.form import MAX_BODY_BYTES
from metseg.serve.service.metrics import Metrics
from metseg.serve.service.refusals import internal_error

_LINGER_SECONDS = 2.0


class Doorway:
    """ASGI middleware around the whole app.

    A refusal is often sent before its request was read to the end. If the connection were closed at once,
    the system would throw the answer away with the unread rest; so some of that is read and dropped first.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: frozenset[str]):
        """Goes around `app`; `paths` are the addresses counted each by itself."""
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["started"] = time.perf_counter()
        visit = _Visit(scope, receive, send)
        try:
            await self._app(scope, visit.receive, visit.send)
        except Exception as error:
            if visit.status:  # half an answer cannot be mended
                raise
            await internal_error(error)(scope, visit.receive, visit.send)
        path = scope["path"].rstrip("/") or "/"
        path = path if path in self._paths else "other"
        self._metrics.requests.labels(path, visit.status).inc()
        self._metrics.seconds.labels(path).observe(visit.seconds)


class _Visit:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        names = {name for name, _ in scope["headers"]}
        self._unread = b"transfer-encoding" in names or b"content-length" in names
        self._started, self._receive, self._send = scope["started"], receive, send
        self.status, self.seconds, self._closing = 0, 0.0, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.seconds = message["status"], time.perf_counter() - self._started
            if self._unread:
                self._closing = True
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        elif self._closing and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drop_the_rest()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drop_the_rest(self) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread and dropped <= MAX_BODY_BYTES:
                    dropped += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
