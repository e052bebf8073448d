"""The files of a benchmark: its tables, its record, its figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, replacing, shown, taking_apart, write_json
from metseg.base.labels import label_of
from metseg.benchmark.run import planned, read_measurements
from metseg.benchmark.table import BASELINE, Limits, measured_limits, results_table, scaling_table
from metseg.plots.speed import plot_roofline, plot_scaling, plot_speed
from metseg.plots.style import save_figure, use_style

# What the rest of the machine may use before figures become doubtful; ratios too, for threads that wait for
# each other suffer more than others from a core that is taken away.
QUIET_CORES = 0.1


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark as it lies in its folder.

    Attributes:
        record: What `run_benchmark` returns.
        limits: What the machine bears.
        results: See `results_table`.
        scaling: See `scaling_table`.
    """

    record: dict[str, Any]
    limits: Limits
    results: pd.DataFrame
    scaling: pd.DataFrame

    @property
    def notes(self) -> list[str]:
        """Returns a sentence on all that a reader has to know beside the figures."""
        said, others = list(self.record["left_out"]), self.limits.other_cores
        if others > QUIET_CORES:
            said.append(f"the limits are too low: other work took {others:.1f} cores meanwhile")
        busy = self.results[self.results.other_cores > QUIET_CORES]
        if len(busy):
            share = f"{len(busy)} of {len(self.results)} rows were measured beside other work"
            said.append(f"{share} (up to {busy.other_cores.max():.1f} cores); measure again when it is quiet")
        return said

    @property
    def verdicts(self) -> list[str]:
        """Returns how many times as fast metseg is as MONAI's fastest, and as ONNX Runtime; a sentence each.

        Both precisions are named: only rows of the same precision compare code.
        """
        rows = self.results[self.results.ratio_to_metseg.notna()]
        said = []
        for _, group in rows.groupby("group", sort=False):
            base = group[group.contestant == BASELINE].iloc[0]
            monai = group[group.library == "monai"].nlargest(1, "ratio_to_metseg")
            for row in monai.to_dict("records"):
                layout = f", {row['layout']}" if row["layout"] else ""
                said.append(_verdict(base, row, f"MONAI's fastest ({row['precision']}{layout})"))
            for row in group[group.library == "onnxruntime"].to_dict("records"):
                said.append(_verdict(base, row, f"the same network in ONNX Runtime ({row['precision']})"))
        return said

    def headline(self) -> pd.DataFrame:
        """Returns training and inference of metseg and its peers: (contestant, speed, quartiles, ratio)."""
        rows = self.results[~self.results.group.str.startswith("scaling")]
        columns = ["network", "task", "size", "batch", "contestant", "precision", "median", "q25", "q75"]
        columns += ["unit", "threads", "ratio_to_metseg", "gflops", "fraction_of_limit", "peak_memory_mb"]
        return rows[columns].reset_index(drop=True)


def _verdict(base: Mapping[str, Any], peer: Mapping[str, Any], name: str) -> str:
    batch = "one image" if base["batch"] == 1 else f"batch {base['batch']}"
    low, middle, high = (1 / peer[f"ratio_{end}"] for end in ("high", "to_metseg", "low"))
    return (
        f"{label_of(base['network'])}, {base['task']}, {base['size']}², {batch}: metseg "
        f"({base['precision']}) is {middle:.2f} times as fast as {name}; "
        f"quartiles over rounds {low:.2f}–{high:.2f}"
    )


def read_benchmark(folder: Path) -> Benchmark:
    """Reads a finished benchmark from its measurements.

    Raises:
        MetsegError: There is none, it is damaged, or it is not finished.
    """
    path = Path(folder) / "benchmark.json"
    record = read_json(path)
    if not record.get("finished"):
        raise MetsegError(f"the benchmark {shown(folder)} is not finished; the command that began it goes on")
    with taking_apart(path, "measure again in another folder"):
        groups = planned(record)
        measured = {name: (group, read_measurements(name, folder)) for name, group in groups.items()}
        limits = measured_limits(*measured.pop("limits"))
        results = results_table(measured, limits)
    return Benchmark(record, limits, results, scaling_table(results))


def write_report(benchmark: Benchmark, folder: Path) -> list[Path]:
    """Writes two tables, the figures, and the limits into `benchmark.json`; returns all files."""
    folder, limits = Path(folder), benchmark.limits
    use_style()
    tables = {"results.csv": benchmark.results, "scaling.csv": benchmark.scaling}
    for name, table in tables.items():
        with replacing(folder / name) as partial:
            table.to_csv(partial, index=False)
    write_json(folder / "benchmark.json", {**benchmark.record, "limits": asdict(limits)})
    figures = {
        "speed.png": plot_speed(benchmark.results),
        "roofline.png": plot_roofline(benchmark.results, limits.gflops, limits.gb_per_s),
    }
    if len(benchmark.scaling):
        figures["scaling.png"] = plot_scaling(benchmark.results, benchmark.scaling)
    saved = [save_figure(axes, folder / name) for name, axes in figures.items()]
    return [*(folder / name for name in tables), folder / "benchmark.json", *saved]
