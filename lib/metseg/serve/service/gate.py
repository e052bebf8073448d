"""ASGI middleware before all else: who may ask, what every answer carries, and a line of who asked what."""

import logging
import re
import secrets
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.serve.door import Door
from metseg.serve.service.metrics import Metrics
from metseg.serve.service.refusals import answer
from metseg.serve.tokens import Guesses, Keys

_OPEN = re.compile(r"/(health(/ready)?|docs(/static/.*)?|openapi\.json)/?")  # they hold nothing of anybody
_EVERY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_log = logging.getLogger("metseg.serve.audit")


@dataclass(frozen=True)
class Access:
    """Who may ask the service.

    Attributes:
        keys: Whose token is asked for; None: nobody's.
        door: Its names, and the pages that may ask it; None: any name, no page.
    """

    keys: Keys | None = None
    door: Door | None = None


class Gate:
    """Lets those in who may ask.

    Each answer has an `X-Request-ID`; the line in the log has it too, with the token's holder, the method,
    the kind of address, the status, the bytes received and the seconds. Nothing of what was sent or answered
    is in it, and no address of a job.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics):
        self._app, self._access, self._metrics = app, access, metrics
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status, received, number = time.perf_counter(), None, 0, secrets.token_hex(8)

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                headers["x-request-id"] = number
                for name, value in _EVERY.items():
                    headers.setdefault(name, value)
            await send(message)

        holder, refused = self._ask(scope)
        if scope["method"] == "HEAD" and not _path(scope).startswith("/jobs/"):  # whose answer is sent once
            scope = {**scope, "method": "GET"}  # the server leaves the body out
        try:
            await (refused or self._app)(scope, count, reply)
        finally:
            route = scope.get("route")
            what = holder or "-", scope["method"][:10], route.path if route else "-", status or "-"
            seconds = time.perf_counter() - started
            _log.info("%s %s %s %s %s, %d bytes, %.3f s", number, *what, received, seconds)

    def _ask(self, scope: Scope) -> tuple[str | None, Response | None]:
        """Returns who asks, and a refusal where that may not be."""
        headers, access = Headers(scope=scope), self._access
        address = (scope.get("client") or ("unknown",))[0]
        if "transfer-encoding" in headers and "content-length" in headers:  # RFC 9112, 6.3: smuggling
            return None, self._refuse("two_lengths", "The request says its length in two ways; say it in one")
        if access.door and not access.door.knows(headers.get("host", "")):
            return None, self._refuse(
                "unknown_host", "The service does not go by this name; whoever runs it adds --allowed-host"
            )
        if (access.door or Door()).is_foreign(headers):
            return None, self._refuse(
                "foreign_page", "A page of another site may not ask this; whoever runs it adds --allow-origin"
            )
        if access.keys is None or _OPEN.fullmatch(_path(scope)):
            return None, None
        if self._guesses.is_waiting(address):
            return None, self._refuse("guessing", "Too many wrong tokens; try again in a minute")
        kind, _, token = headers.get("authorization", "").partition(" ")
        holder = access.keys.holder(token.strip()) if kind.lower() == "bearer" else None
        if holder is None and token and not access.keys.is_readable:
            told = "The service cannot read its list of tokens; tell whoever runs it, whose log says why"
            return None, self._refuse("unreadable_keys", told)
        if holder is None:
            if token:
                self._guesses.wrong(address)
            told = "Send the service's token as the header 'Authorization: Bearer TOKEN'"
            return None, self._refuse("no_token", told, {"WWW-Authenticate": "Bearer"})
        return holder, None

    def _refuse(self, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
        # What is still to come is not read: a stranger's upload takes no memory.
        refusal = answer(code, message, {**(headers or {}), "Connection": "close"})
        self._metrics.refused.labels(code).inc()
        self._metrics.requests.labels("other", refusal.status_code).inc()
        return refusal


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", ""))
