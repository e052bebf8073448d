"""The files of a benchmark: its tables, its record, its figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, taking_apart, write_json, write_text
from metseg.benchmark.run import planned, read_measurements
from metseg.benchmark.table import measured_limits, results_table, scaling_table
from metseg.plots.speed import plot_scaling, plot_speed
from metseg.plots.style import save_figure, use_style

_QUIET_CORES = 0.1  # that the rest of the machine may use before figures, ratios too, become doubtful


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark as it lies in its folder."""

    record: dict[str, Any]  # of `run_benchmark`
    limits: dict[str, float]  # of `measured_limits`
    results: pd.DataFrame  # of `results_table`
    scaling: pd.DataFrame  # of `scaling_table`
    notes: list[str]  # what a reader has to know beside the figures

    def headline(self) -> pd.DataFrame:
        """Returns training and inference of metseg and its peers: (contestant, speed, quartiles, ratio)."""
        rows = self.results[~self.results.group.str.startswith("scaling")]
        columns = ["network", "task", "size", "batch", "contestant", "precision", "threads", "median", "q25"]
        columns += ["q75", "unit", "ratio_to_metseg", "ratio_low", "ratio_high", "fraction_of_limit"]
        return rows[[*columns, "peak_memory_mb"]].reset_index(drop=True)


def read_benchmark(folder: Path) -> Benchmark:
    """Reads a finished benchmark from its measurements, or raises a `MetsegError`."""
    path = Path(folder) / "benchmark.json"
    record = read_json(path)
    if not record.get("finished"):
        raise MetsegError(f"the benchmark {shown(folder)} is not finished; the command that began it goes on")
    with taking_apart(path, "measure again in another folder"):
        groups = planned(record)
        measured = {name: (group, read_measurements(name, folder)) for name, group in groups.items()}
        every = results_table(measured, limits := measured_limits(*measured["limits"]))
        results = every[every.group != "limits"].reset_index(drop=True)
        notes, busy = list(record["left_out"]), every[every.other_cores > _QUIET_CORES]
    if len(busy):
        share = f"{len(busy)} of {len(every)} contestants worked beside other work"
        notes.append(f"{share} (up to {busy.other_cores.max():.1f} cores); measure again when it is quiet")
    return Benchmark(record, limits, results, scaling_table(results), notes)


def write_report(benchmark: Benchmark, folder: Path) -> list[Path]:
    """Writes two tables, the figures, and the limits into `benchmark.json`; returns all files."""
    folder = Path(folder)
    use_style()
    tables = {"results.csv": benchmark.results, "scaling.csv": benchmark.scaling}
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False))
    write_json(folder / "benchmark.json", {**benchmark.record, "limits_gflops": benchmark.limits})
    saved = [save_figure(plot_speed(benchmark.results), folder / "speed.png")]
    if len(benchmark.scaling):
        axes = plot_scaling(benchmark.results, benchmark.scaling)
        saved.append(save_figure(axes, folder / "scaling.png"))
    return [*(folder / name for name in tables), folder / "benchmark.json", *saved]
