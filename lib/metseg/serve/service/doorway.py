"""What happens around every request: it is counted, timed, and answered even when the service fails."""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.serve.faults import where
from metseg.serve.service.form import MAX_BODY_BYTES
from metseg.serve.service.metrics import Metrics
from metseg.serve.service.refusals import answer

_LINGER_SECONDS = 2.0
_log = logging.getLogger("metseg.serve")


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
        scope["started"] = started = time.perf_counter()
        names = {name for name, _ in scope["headers"]}
        unread = b"transfer-encoding" in names or b"content-length" in names
        status, seconds, closing = 0, 0.0, False

        async def listen() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def reply(message: Message) -> None:
            nonlocal status, seconds, closing
            if message["type"] == "http.response.start":
                status, seconds, closing = message["status"], time.perf_counter() - started, unread
                if closing:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            elif closing and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await drop_the_rest()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        async def drop_the_rest() -> None:
            dropped = 0
            try:
                async with asyncio.timeout(_LINGER_SECONDS):
                    while unread and dropped <= MAX_BODY_BYTES:
                        dropped += len((await listen()).get("body", b""))
            except TimeoutError:
                pass

        try:
            await self._app(scope, listen, reply)
        except Exception as error:
            if status:  # half an answer cannot be mended
                raise
            _log.error("%s", where(error))
            failed = answer("internal_error", "The service failed; its log says where, so tell who runs it")
            await failed(scope, listen, reply)
        path = scope["path"].rstrip("/") or "/"
        path = path if path in self._paths else "other"
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
