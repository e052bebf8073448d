"""A contestant's process, seen from outside."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from typing import IO, Any, Self

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.benchmark.plan import Measurement

_STOP_SECONDS = 10


class Worker:
    """Starts a contestant and gives it turns; a context manager that ends it.

    Attributes:
        measurement: What it works on.
    """

    def __init__(self, measurement: Measurement, log: IO[bytes]):
        self.measurement = measurement
        self._log = log
        # Without a GPU, whoever could use one: contestants are compared on the same cores.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONIOENCODING": "utf-8"}
        environment["TF_NUM_INTRAOP_THREADS"] = str(cores())  # its own choice, but said
        self._process = subprocess.Popen(
            [sys.executable, "-m", "metseg.benchmark.worker", json.dumps(asdict(measurement))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ready(self) -> dict[str, Any]:
        """Waits until the contestant is ready; returns its precision and its cost."""
        return self._answer()["ready"]

    def turn(self, seconds: float) -> dict[str, Any]:
        """Has it work for so long; returns the seconds of its steps, its peak memory and the others' load."""
        with suppress(OSError):  # it has died: no answer will come, and that says why
            print(json.dumps({"seconds": seconds}), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        cause = f"signal {-status}" if status < 0 else (lines[-1] if lines else f"status {status}")
        raise MetsegError(
            f"{self.measurement.contestant} stopped at {self.measurement.task} ({cause}); "
            "mend that or free memory: the same command goes on"
        )


@contextmanager
def working(measurements: Sequence[Measurement]) -> Iterator[list[Worker]]:
    """Yields a started process for each measurement; all of them have ended afterwards."""
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in measurements]
        yield [stack.enter_context(Worker(*pair)) for pair in zip(measurements, logs, strict=True)]
