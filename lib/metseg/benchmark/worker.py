"""One contestant in a process of its own: `python -m metseg.benchmark.worker MEASUREMENT`.

It answers on stdout in JSON lines: once when it is ready, then to each line of stdin with a turn. Between
turns it waits for the next line, so that its threads sleep; when stdin closes, it ends.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from metseg.benchmark.contestant import Contestant
from metseg.benchmark.plan import Measurement


def main() -> None:
    """Prepares the measurement of the command line, then has a turn whenever it is told to."""
    tell = _answers()
    measurement = Measurement(**json.loads(sys.argv[1]))
    contestant = prepare(measurement)
    contestant.run(0.0)  # the first step traces and allocates
    cost = contestant.cost
    told = {"precision": contestant.precision, "threads": contestant.threads}
    told |= {"flop": cost.flop, "elements": cost.elements, "weights": cost.weights}
    tell(ready=told)
    for line in sys.stdin:
        idle = _others_seconds()
        began = time.perf_counter()
        times = contestant.run(json.loads(line)["seconds"])
        others = (_others_seconds() - idle) / (time.perf_counter() - began)
        parts = {"parts": contestant.parts()} if contestant.parts else {}
        tell(seconds=times, other_cores=max(0.0, others), peak_mb=peak_memory_mb(), **parts)


def prepare(measurement: Measurement) -> Contestant:
    """Builds the contestant of a measurement; each kind brings its own libraries and no others."""
    if measurement.library == "machine":
        from metseg.benchmark.with_machine import prepare as build
    elif measurement.task in ("open", "read"):
        from metseg.benchmark.with_data import prepare as build
    elif measurement.task == "profile":
        from metseg.benchmark.with_profile import prepare as build
    elif measurement.library == "monai":
        from metseg.benchmark.with_torch import prepare as build
    elif measurement.task == "inference" and measurement.path:
        from metseg.benchmark.with_onnx import prepare as build
    else:
        from metseg.benchmark.with_keras import prepare as build
    return build(measurement)


def peak_memory_mb() -> float:
    """Returns the most memory that this process has held so far, resident, in 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it forked
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def _others_seconds() -> float:
    """Returns the core-seconds that everything but this process has used since the machine started."""
    everyone, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = sum(getattr(everyone, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
    return busy - own.user - own.system


def _answers() -> Callable[..., None]:
    """Keeps stdout for the answers: what libraries print goes to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return lambda **answer: print(json.dumps(answer), file=stream)


if __name__ == "__main__":
    main()
