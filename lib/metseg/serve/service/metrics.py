"""What the service counts, for Prometheus.

Several processes share one set of figures, in the folder that PROMETHEUS_MULTIPROC_DIR names when
prometheus_client is first imported. They lie there in files that are memory: a write to such a file ends the
process (SIGBUS) where the disk has no room for it, so the room is taken before.
"""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import prometheus_client as prometheus
import psutil
from prometheus_client import multiprocess, values
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.serve.faults import where
from metseg.serve.service.refusals import answer

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_KINDS = ("counter", "histogram", "gauge_livesum")  # as `Metrics` has them
_FIGURES_BYTES = 2**20  # of each; they take some 50 kB, and prometheus_client asks for more only beyond
_log = logging.getLogger("metseg.serve")


def reserve_figures() -> None:
    """Takes the room for this process's figures, before the first is counted.

    Where there is none, this process counts for itself alone, and says so: a full disk shall not end it.
    """
    files = [Path(os.environ[_FOLDER], f"{kind}_{os.getpid()}.db") for kind in _KINDS]
    try:
        for file in files:
            file.write_bytes(bytes(_FIGURES_BYTES))
    except OSError as error:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        values.ValueClass = values.MutexValue
        _log.error("this process's figures are missing in /metrics: %s", error.strerror)


class Metrics:
    """The figures of one app."""

    def __init__(self):
        self._registry = registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "metseg_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "metseg_request_seconds", "From a request to its answer.", ["path"], registry=registry
        )
        self.waiting = prometheus.Gauge(
            "metseg_waiting", "Slices that wait for a thread.", registry=registry, multiprocess_mode="livesum"
        )
        processes = prometheus.Gauge(
            "metseg_processes",
            "Processes that these figures are of.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        processes.set(1)
        self.refused = prometheus.Counter(
            "metseg_refused", "Requests refused, by the code of the answer.", ["code"], registry=registry
        )

    def text(self) -> bytes:
        """Returns the figures of all processes in Prometheus's format."""
        registry = self._registry
        if folder := os.environ.get(_FOLDER):
            for path in Path(folder).glob("gauge_live*.db"):  # one that was killed waits for nothing
                pid = int(path.stem.rpartition("_")[2])
                if not psutil.pid_exists(pid):
                    multiprocess.mark_process_dead(pid)
            registry = prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return prometheus.generate_latest(registry)


class Counting:
    """ASGI middleware: every request is counted and timed, and answered even when the service fails."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), None

        async def reply(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, reply)
        except Exception as error:
            _log.error("%s", where(error))
            if status is None:
                failed = answer(
                    "internal_error", "The service failed; its log says where, so tell who runs it"
                )
                await failed(scope, receive, reply)
        route = scope.get("route")
        path = (route.path.rstrip("/") or "/") if route else "other"
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
