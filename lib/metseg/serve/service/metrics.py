"""What the service counts, for Prometheus.

Several processes share one set of figures, in the folder that PROMETHEUS_MULTIPROC_DIR names when
prometheus_client is first imported.
"""

import logging
import os
import time
from pathlib import Path

import prometheus_client as prometheus
import psutil
from prometheus_client import multiprocess
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metseg.serve.faults import where
from metseg.serve.service.refusals import answer

_log = logging.getLogger("metseg.serve")


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
        self.refused = prometheus.Counter(
            "metseg_refused", "Requests refused, by the code of the answer.", ["code"], registry=registry
        )

    def text(self) -> bytes:
        """Returns the figures of all processes in Prometheus's format."""
        registry = self._registry
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
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
