"""tornado's server with a bound on all that a stranger can hold: connections, bodies, silence."""

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from metseg.serve.connections import HEADER_SECONDS, IDLE_SECONDS, Connections, room_for_connections

_MAX_BODY_BYTES = 2**14  # an upload comes through the websocket, of who was let in


class BoundedServer(HTTPServer):
    """Closes at once a connection too many, and by itself one that says nothing or not all."""

    def initialize(self, *args, room: Connections | None = None, **options) -> None:
        bounds = {"max_body_size": _MAX_BODY_BYTES, "max_header_size": _MAX_BODY_BYTES}
        bounds |= {"idle_connection_timeout": IDLE_SECONDS, "body_timeout": HEADER_SECONDS}
        super().initialize(*args, **bounds, **options)
        self._room = room or Connections(room_for_connections())

    def handle_stream(self, stream: IOStream, address: tuple) -> None:
        if not self._room.enter(address[0]):
            stream.close()
            return
        super().handle_stream(stream, address)

    def on_close(self, server_conn) -> None:
        super().on_close(server_conn)
        self._room.leave(server_conn.context.address[0])
