"""uvicorn's HTTP protocol with a bound on what a connection may hold without asking for anything."""

import asyncio
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from metseg.serve.connections import (
    FOR_HEALTH,
    HEADER_SECONDS,
    HEALTH_SECONDS,
    UNREAD_SECONDS,
    Connections,
    room_for_connections,
)
from metseg.serve.service.refusals import answer

_FREE_PIECES, _LEAST_PIECE_BYTES = 1000, 64
_HEALTH = ("/health", "/health/ready")
_FULL = "The service has all the connections it can hold; try again in a second"
_room: Connections | None = None
_spare = Connections(FOR_HEALTH, of_one=FOR_HEALTH // 4)


class BoundedProtocol(H11Protocol):
    """Closes a connection too many, one whose request does not begin, and one that comes byte by byte.

    A few more than there may be are held for a moment, and told whether the service lives, and nothing else.
    Each piece that arrives takes time from all: a thousand a request are free, then they must hold something.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        global _room  # noqa: PLW0603 - of this process, made where it serves
        _room = _room or Connections(room_for_connections())
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._pieces = self._bytes = 0  # of this request
        self._too_late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in, self._patience = _room, HEADER_SECONDS
        if not _room.enter(self._address):
            self._in, self._patience = _spare, HEALTH_SECONDS
            self.app = partial(_tell_health, self.app)
            if not _spare.enter(self._address):
                self._in = None
                transport.abort()
                return
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        self._stop_waiting_for_reader()
        if self._in:
            self._in.leave(self._address)

    def pause_writing(self) -> None:
        """An answer that nobody reads holds a connection; a minute for each 64 kB of it must do."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        self._pieces += 1
        self._bytes += len(data)
        if self._pieces > _FREE_PIECES and self._bytes < _LEAST_PIECE_BYTES * self._pieces:
            self.transport.abort()
            return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._pieces = self._bytes = 0
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()  # from now on it is the reader of the form who waits
        elif self._too_late is None:
            self._await_request()

    def _await_request(self) -> None:
        self._too_late = self.loop.call_later(self._patience, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None


async def _tell_health(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    asked = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
    await (app if asked in _HEALTH else answer("busy", _FULL, {"Connection": "close"}))(scope, receive, send)
