"""A contestant in a process of its own: what it does there, and how it is told to."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.benchmark.contestant import Contestant
from metseg.benchmark.plan import Measurement

_STOP_SECONDS = 10


class Worker:
    """Starts a contestant and gives it turns; it ends when this process ends, however that is."""

    def __init__(self, measurement: Measurement, folder: Path):
        self.measurement = measurement
        context = multiprocessing.get_context("spawn")  # with none of this process's memory
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, measurement, Path(folder)), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        self._connection.close()
        self._process.join(_STOP_SECONDS)
        self._process.kill()
        self._process.join()

    def ready(self) -> dict[str, Any]:
        """Waits until the contestant is ready, or its last turn has ended; returns what it answers."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            answer = f"exit code {self._process.exitcode}"
        if isinstance(answer, str):
            raise MetsegError(
                f"{self.measurement.contestant} stopped at {self.measurement.task} ({answer}); "
                "mend that or free memory: the same command goes on"
            )
        return answer

    def turn(self, seconds: float) -> dict[str, Any]:
        """Has it work for so long; returns the seconds of its steps, its peak memory and the others' load."""
        with suppress(OSError):  # it has died: no answer will come, and that says why
            self._connection.send(seconds)
        return self.ready()


@contextmanager
def working(measurements: Sequence[Measurement], folder: Path) -> Iterator[list[Worker]]:
    """Yields a started process for each measurement of a run's folder; all have ended afterwards."""
    with ExitStack() as stack:
        workers = []
        for each in measurements:
            workers.append(Worker(each, folder))
            stack.callback(workers[-1].stop)
        yield workers


def _work(connection: Connection, measurement: Measurement, folder: Path) -> None:
    """Prepares a contestant, then has a turn whenever it is told to."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    # Without a GPU, whoever could use one: contestants are compared on the same cores.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_NUM_INTRAOP_THREADS": str(cores())}
    try:
        contestant = _prepare(measurement, folder)
        contestant.run(0.0)  # the first step traces and allocates
        told = ("precision", "threads", "flop")
        connection.send({name: getattr(contestant, name) for name in told})
        while True:
            seconds = connection.recv()
            idle, began = _others_seconds(), time.perf_counter()
            times = contestant.run(seconds)
            others = (_others_seconds() - idle) / (time.perf_counter() - began)
            load = {"other_cores": max(0.0, others), "peak_mb": peak_memory_mb()}
            connection.send({"seconds": times, **load})
    except EOFError:
        return  # nobody asks any more
    except Exception as error:  # noqa: BLE001
        with suppress(OSError):
            connection.send(" ".join(f"{type(error).__name__}: {error}".split()))


def _prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Builds the contestant of a measurement; each kind brings its own libraries and no others."""
    if measurement.library == "monai":
        from metseg.benchmark.with_torch import prepare
    elif measurement.task == "inference" and measurement.library != "keras":
        from metseg.benchmark.with_onnx import prepare
    else:
        from metseg.benchmark.with_keras import prepare
    return prepare(measurement, folder)


def peak_memory_mb() -> float:
    """Returns the most memory that this process has held (where that is hidden: holds), in 10⁶ bytes."""
    status = Path("/proc/self/status")  # getrusage would count what the parent held when it forked
    rows = status.read_text().splitlines() if status.exists() else ()
    peak = next((1024 * int(row.split()[1]) for row in rows if row.startswith("VmHWM:")), None)
    return (psutil.Process().memory_info().rss if peak is None else peak) / 1e6


def _others_seconds() -> float:
    """Returns the core-seconds that everything but this process has used since the machine started."""
    everyone, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = sum(getattr(everyone, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
    return busy - own.user - own.system
