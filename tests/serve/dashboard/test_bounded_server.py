"""The dashboard's server with an application of one line: what a stranger can hold of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tornado.web import Application, RequestHandler

from metseg.serve.connections import Connections
from metseg.serve.dashboard import bounded_server
from metseg.serve.dashboard.bounded_server import BoundedServer
from metseg.serve.listening import listen


class Hello(RequestHandler):
    def get(self) -> None:
        self.finish("hello")

    def post(self) -> None:
        self.finish(str(len(self.request.body)))


def serving(room: int, visit: Callable[[Callable], Awaitable[None]]) -> None:
    async def run() -> None:
        with listen("127.0.0.1", 0) as listener:
            listener.setblocking(False)
            server = BoundedServer(Application([("/", Hello)]), room=Connections(room))
            server.add_socket(listener)
            await asyncio.wait_for(visit(lambda: asyncio.open_connection(*listener.getsockname())), 20)
            server.stop()

    asyncio.run(run())


def test_a_connection_too_many_is_closed_and_its_place_is_given_again():
    async def visit(connect) -> None:
        held = [await connect() for _ in range(2)]
        reader, _ = await connect()
        assert await reader.read() == b""
        held[0][1].close()
        await asyncio.sleep(0.2)
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")

    serving(2, visit)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_silence_ends(monkeypatch, sent):
    monkeypatch.setattr(bounded_server, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(bounded_server, "HEADER_SECONDS", 0.2)

    async def visit(connect) -> None:
        reader, writer = await connect()
        writer.write(sent)
        assert b" 200 " not in await reader.read()

    serving(2, visit)


@pytest.mark.parametrize(("size", "sent", "status"), [(2**14, 2**14, b"200"), (2**14 + 1, 0, b"400")])
def test_a_body_that_is_too_large_is_not_waited_for(size, sent, status):
    async def visit(connect) -> None:
        reader, writer = await connect()
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % size + b"x" * sent)
        assert (await reader.read()).split()[1] == status

    serving(2, visit)
