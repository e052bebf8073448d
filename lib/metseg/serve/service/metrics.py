"""What the service counts, for Prometheus; one set of figures, however many processes answer."""

import os
from pathlib import Path

import psutil


class Metrics:
    """The service's figures.

    prometheus_client decides by an environment variable, when it is first imported, whether processes share
    their figures through files; that is why it is imported here.
    """

    def __init__(self, folder: Path | None = None):
        """Makes the figures.

        Args:
            folder: Where the processes of one service keep them; None for a process by itself.
        """
        if folder is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        import prometheus_client as prometheus

        self._folder = folder
        self._registry = registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "metseg_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "metseg_request_seconds",
            "From a request's first line to the beginning of its answer.",
            ["path"],
            registry=registry,
        )
        self.waiting = prometheus.Gauge(
            "metseg_waiting",
            "Slices that wait for a thread.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.refused = prometheus.Counter(
            "metseg_refused", "Requests refused, by the code of the answer.", ["code"], registry=registry
        )

    def text(self) -> tuple[bytes, str]:
        """Returns the figures of all processes in Prometheus's format, and its content type."""
        import prometheus_client as prometheus
        from prometheus_client import multiprocess

        registry = self._registry
        if self._folder is not None:
            for path in self._folder.glob("gauge_live*_*.db"):  # one that was killed waits for nothing
                pid = int(path.stem.rpartition("_")[2])
                if not psutil.pid_exists(pid):
                    multiprocess.mark_process_dead(pid, str(self._folder))
            registry = prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, str(self._folder))
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST
