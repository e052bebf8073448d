"""Timed steps become a tidy table: one row a contestant and task, every figure with its unit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from metseg.benchmark.plan import Measurement

BASELINE = "metseg"
_TRAINING_PASSES = 3  # forward, gradient of the inputs, gradient of the weights: as many operations each
Measured = tuple[Sequence[Measurement], Mapping[str, Any]]  # a group and its `read_measurements`


def measured_limits(group: Sequence[Measurement], found: Mapping[str, Any]) -> dict[str, float]:
    """Returns {precision: the fastest matrix product of all rounds, GFLOP/s}."""
    limits: dict[str, float] = {}
    for each in group:
        reached = found["ready"][each.key]["flop"] / min(_times(each, found)) / 1e9
        limits[each.precision] = max(limits.get(each.precision, 0.0), reached)
    return limits


def results_table(measured: Mapping[str, Measured], limits: Mapping[str, float]) -> pd.DataFrame:
    """Returns one row for each measurement of the groups, {name: group and what was measured}.

    Columns:
        group, contestant, threads, and what a `Measurement` says: Who and what.
        median, q25, q75, unit: Of all steps of all rounds: images/s of a training and of a batch, ms for one
            image.
        gflops: Operations of the convolutions, three times the way forward in training, in the median time.
        fraction_of_limit: Share of the measured matrix product in the same precision.
        ratio_to_metseg, ratio_low, ratio_high: Speed over metseg's: in each round the two medians' quotient;
            then the median and the quartiles of the rounds.
        peak_memory_mb: Largest resident memory of the contestant's process, libraries included.
        other_cores: Median of what everything else on the machine used meanwhile, cores; 0 is quiet.
    """
    rows = [
        {"group": name} | _row(measurement, group, found, limits)
        for name, (group, found) in measured.items()
        for measurement in group
    ]
    return pd.DataFrame(rows)


def _row(
    measurement: Measurement, group: Sequence[Measurement], found: Mapping[str, Any], limits: Mapping
) -> dict[str, Any]:
    ready, turns = found["ready"][measurement.key], [turns[measurement.key] for turns in found["rounds"]]
    precision, times, batch = ready["precision"], _times(measurement, found), measurement.batch
    seconds = np.quantile(times, [0.25, 0.5, 0.75])
    training = measurement.task == "training"
    latency = batch == 1 and not training
    q25, median, q75 = 1000 * seconds if latency else batch / seconds[::-1]
    gflops = ready["flop"] * (_TRAINING_PASSES if training else 1) * batch / seconds[1] / 1e9
    ratio_low, ratio, ratio_high = _ratio(measurement, group, found)
    return {
        "contestant": measurement.contestant,
        **{name: value for name, value in asdict(measurement).items() if name != "filters"},
        "precision": precision,
        "threads": ready["threads"],
        "median": median,
        "q25": q25,
        "q75": q75,
        "unit": "ms" if latency else "images/s",
        "gflops": gflops,
        "fraction_of_limit": gflops / limits.get(precision, np.nan),
        "ratio_to_metseg": ratio,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
        "peak_memory_mb": max(turn["peak_mb"] for turn in turns),
        "other_cores": float(np.median([turn["other_cores"] for turn in turns])),
        "steps": len(times),
    }


def _times(measurement: Measurement, found: Mapping[str, Any]) -> list[float]:
    return [seconds for turns in found["rounds"] for seconds in turns[measurement.key]["seconds"]]


def _ratio(measurement: Measurement, group: Sequence[Measurement], found: Mapping[str, Any]) -> np.ndarray:
    """Returns quartiles of the speed over metseg's on the same task; nan where it has no rival."""
    alike = [each for each in group if each.size == measurement.size]
    base = next((each for each in alike if each.contestant == BASELINE), None)
    if base is None or len(alike) < 2:
        return np.full(3, np.nan)
    rounds = [
        np.median(turns[base.key]["seconds"]) / np.median(turns[measurement.key]["seconds"])
        for turns in found["rounds"]
    ]
    return np.quantile(rounds, [0.25, 0.5, 0.75])


def scaling_table(results: pd.DataFrame) -> pd.DataFrame:
    """Returns the growth of the groups `scaling-…`: task, network, points, exponent, standard_error.

    The exponent is k of time = c · pixels**k, fitted to the median times' logarithms; its error says how far
    the points are from a power law, not how repeatable they are, and is nan of two points.
    """
    rows = []
    curves = results[results.group.str.startswith("scaling-")]
    for (task, network), curve in curves.groupby(["task", "network"], sort=False):
        times = 1 / curve["median"] if task == "training" else curve["median"]
        fit = stats.linregress(2 * np.log(curve["size"]), np.log(times))
        error = fit.stderr if len(curve) > 2 else np.nan
        rows.append((task, network, len(curve), fit.slope, error))
    return pd.DataFrame(rows, columns=["task", "network", "points", "exponent", "standard_error"])
