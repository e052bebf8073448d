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
        """Makes the figures; processes of one service keep them in a folder."""
        if folder is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        import prometheus_client as prometheus

        self._folder, self._registry = folder, prometheus.CollectorRegistry()
        to = {"registry": self._registry}
        self.requests = prometheus.Counter("metseg_requests", "Requests answered.", ["path", "status"], **to)
        what = "From a request's first line to the beginning of its answer."
        self.seconds = prometheus.Histogram("metseg_request_seconds", what, ["path"], **to)
        what = "Slices that wait for a thread."
        self.waiting = prometheus.Gauge("metseg_waiting", what, multiprocess_mode="livesum", **to)
        what = "Requests refused, by the code of the answer."
        self.refused = prometheus.Counter("metseg_refused", what, ["code"], **to)

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
