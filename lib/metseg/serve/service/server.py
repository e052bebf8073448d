"""The service as processes that listen on a port."""

import asyncio
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from metseg.evaluation.origin import refuse_scans_unlike_the_phantom
from metseg.inference.predictor import Predictor
from metseg.serve.listening import listen
from metseg.serve.service.api import create_app
from metseg.serve.service.refusals import Refusal

HEADER_SECONDS = 10.0
MAX_CONNECTIONS = 512  # a process may have 1024 open files
_SHUTDOWN_SECONDS = 60
_log = logging.getLogger("metseg.serve")


def serve(
    models: Mapping[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    log_level: str = "INFO",
    phantom_network: bool = False,
) -> None:
    """Answers requests until the process is told to end (SIGTERM, Ctrl-C); what is in flight is finished.

    Args:
        models: {name: folder of an exported model}, the default first.
        host: Address to listen on; the default is seen by this machine alone.
        port: Port to listen on; 0 for any free one.
        workers: Processes.
        log_level: The least that is worth a line on stderr.
        phantom_network: Whether one that knows only the phantom may be among the models.

    Raises:
        MetsegError: A model cannot be loaded or knows only the phantom, or the address cannot be listened on.
    """
    # Now, so that a damaged one is a sentence that somebody reads.
    offered = {name: Predictor(folder) for name, folder in models.items()}
    if not phantom_network:
        for name, predictor in offered.items():
            refuse_scans_unlike_the_phantom(predictor.description, name)
    if workers > 1:
        offered = dict(models)  # each process loads its own
    listener = listen(host, port)
    logger = {"handlers": ["stderr"], "level": log_level, "propagate": False}
    logs = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"uvicorn": logger, "metseg": logger},
    }
    shared = tempfile.TemporaryDirectory(prefix="metseg-figures-") if workers > 1 else nullcontext()
    with shared as folder:
        figures = Path(folder) if folder else None
        config = uvicorn.Config(
            partial(_create_app, offered, figures),
            factory=True,
            workers=workers,
            http=Connection,
            ws="none",
            interface="asgi3",
            access_log=False,  # an address may hold a name
            server_header=False,
            log_config=logs,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            timeout_worker_healthcheck=30,
        )
        shown = f"[{host}]" if ":" in host else host
        _log.info("metseg listens on http://%s:%d", shown, listener.getsockname()[1])
        if workers > 1:
            Multiprocess(config, sockets=[listener]).run()
        else:
            # uvicorn raises the signal anew when it has shut down; that must not kill what comes after.
            signal.signal(signal.SIGTERM, lambda number, frame: None)
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])


def _create_app(models: Mapping[str, Path | Predictor], figures: Path | None) -> FastAPI:
    """Makes the app; a worker ends with the process that started it, however that ends."""
    if parent := multiprocessing.parent_process():

        def end_with_it() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end_with_it, daemon=True).start()
    return create_app(models, metrics_folder=figures)


class Connection(H11Protocol):
    """A connection that must say what it wants in time, and hears of a malformed request as of all else."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._waiting:
            self._waiting.cancel()

    def _watch(self) -> None:
        """Closes the connection if the header of its next request does not arrive in time."""
        between_requests = self.cycle is None or self.cycle.response_complete
        if between_requests and self._waiting is None:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.abort)
        elif not between_requests and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def send_400_response(self, msg: str) -> None:
        message = "This is no HTTP request that can be read; see /docs for one"
        body = Refusal(code="malformed_request", message=message).model_dump_json().encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        headers.append(("connection", "close"))
        head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()
