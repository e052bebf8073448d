"""What a sweep costs beside its trainings: many trials of a notebook that trains nothing.

python -m metseg.workbook.sweep.scale --trials 1000 --workers 2 --workers 4
"""

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer

from metseg.base.files import write_text
from metseg.workbook.sweep.coordinator import Coordinator
from metseg.workbook.sweep.plan import Plan
from metseg.workbook.sweep.run import run_sweep
from metseg.workbook.sweep.spec import SweepSpec

_PARAMETERS = """
model = "unet"
run_name = "scale"
output_dir = "../outputs/runs"
seed = 0
rate = 0.5
seconds = 0.0
"""
_BODY = """
import json, time
from pathlib import Path
run = Path(output_dir, run_name, model)
run.mkdir(parents=True)
time.sleep(seconds)
(run / "model.json").write_text(json.dumps({"validation_dice": rate}))
"""


def _plan(folder: Path, trials: int, seconds: float) -> Plan:
    """A grid of so many points, of a notebook that sleeps."""
    cells = [
        {"cell_type": "code", "execution_count": None, "outputs": [], "id": name, "source": source}
        | {"metadata": {"tags": [name]}}
        for name, source in (("parameters", _PARAMETERS), ("body", _BODY))
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    write_text(folder / "notebooks" / "01_train_unet.ipynb", json.dumps(notebook))
    rates = [k / trials for k in range(trials)]
    spec = SweepSpec(name="scale", models=["unet"], set={"seconds": seconds}, grid={"rate": rates})
    return Plan(spec, folder / "notebooks")


def _kernel_seconds(at_once: int, rounds: int = 5) -> float:
    """What a kernel takes to start and to end, where so many do so at once; the median."""
    from jupyter_client import KernelManager

    def start(number: int) -> float:
        started = time.monotonic()
        kernel = KernelManager(transport="ipc", ip=str(Path(folder, str(number))))
        kernel.start_kernel()
        client = kernel.client()
        client.start_channels()
        client.wait_for_ready()
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
        return time.monotonic() - started

    with (
        tempfile.TemporaryDirectory(prefix="metseg-kernel-") as folder,
        ThreadPoolExecutor(at_once) as threads,
    ):
        return median(threads.map(start, range(rounds * at_once)))


def measure(trials: int, workers: int, seconds: float) -> dict[str, float]:
    """Runs a sweep and returns what it took.

    Returns:
        `minutes` in all; `trial_s`, the median of a trial, kernel and all; `between_s`, what passes on a
        worker from a trial's end to the next one's start, on average; `kernel_s`, what as many kernels take
        to start and end at once, the median; `overhead_s`, the first two less the third and the sleep;
        `cpu_ms` of the coordinator's process a trial; its memory in MiB after the first tenth (`first_mib`)
        and at the end (`last_mib`).
    """
    own, memory = psutil.Process(), []

    def look(sweep: Coordinator) -> None:
        memory.append(own.memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory(prefix="metseg-scale-") as folder:
        plan, begun = _plan(Path(folder), trials, seconds), []
        started = time.monotonic(), sum(own.cpu_times()[:2])
        table = run_sweep(
            plan,
            Path(folder, "sweep"),
            jobs=workers,
            on_start=lambda client: begun.append(time.monotonic()),
            on_change=look,
        )
        wall, cpu = time.monotonic() - begun[0], sum(own.cpu_times()[:2]) - started[1]
    assert (table.state == "done").all(), table.reason.tolist()
    trial, between = table.seconds.median(), (wall * workers - table.seconds.sum()) / trials
    kernel = _kernel_seconds(workers)
    return {
        "trials": trials,
        "workers": workers,
        "minutes": (time.monotonic() - started[0]) / 60,
        "trial_s": trial,
        "between_s": between,
        "kernel_s": kernel,
        "overhead_s": trial + between - kernel - seconds,
        "cpu_ms": 1000 * cpu / trials,
        "first_mib": memory[len(memory) // 10],
        "last_mib": memory[-1],
    }


def main(
    trials: Annotated[int, typer.Option(min=1)] = 1000,
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable; 2 if left out.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long each trial sleeps.")] = 0.0,
) -> None:
    """Measure what a sweep costs beside its trainings."""
    for count in workers or [2]:
        found = measure(trials, count, seconds)
        print(" · ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    typer.run(main)
