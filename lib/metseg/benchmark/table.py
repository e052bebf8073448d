"""Timed steps become a tidy table: one row a contestant and task, every figure with its unit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metseg.benchmark.flops import ELEMENT_BYTES, TRAINING_PASSES, Cost
from metseg.benchmark.plan import Group, Measurement

BASELINE = "metseg"


@dataclass(frozen=True)
class Limits:
    """What the machine was measured to bear.

    Attributes:
        gflops: The fastest matrix product of each precision, GFLOP/s.
        gb_per_s: Bandwidth of the memory, GB/s.
        other_cores: Median of what everything else used meanwhile, cores; the limits are too low by that.
    """

    gflops: Mapping[str, float]
    gb_per_s: float
    other_cores: float = 0.0


def measured_limits(group: Group, found: Mapping[str, Any]) -> Limits:
    """Returns the best product of each precision and the best stream of all rounds."""
    gflops: dict[str, float] = {}
    gb_per_s = 0.0
    for measurement in group.measurements:
        fastest = min(_times(measurement, found))
        cost = Cost(
            **{name: found["ready"][measurement.key][name] for name in ("flop", "elements", "weights")}
        )
        if measurement.task == "matmul":
            gflops[measurement.precision] = max(
                gflops.get(measurement.precision, 0.0), cost.flop / fastest / 1e9
            )
        else:
            gb_per_s = 4 * cost.elements / fastest / 1e9
    others = [turn["other_cores"] for turns in found["rounds"] for turn in turns.values()]
    return Limits(gflops, gb_per_s, float(np.median(others)))


def results_table(measured: Iterable[tuple[Group, Mapping[str, Any]]], limits: Limits) -> pd.DataFrame:
    """Returns one row for each measurement of the groups.

    Columns:
        group, contestant, library, network, task, size, batch, precision, layout, threads: Who and what.
        median, q25, q75, unit: Of all steps of all rounds: images/s of a training and of a batch, ms for one
            image and for reading a batch, s for opening.
        gflop_per_image: Of the network's convolutions, three times the way forward in training.
        gflops: Those operations in the median time, GFLOP/s.
        fraction_of_limit: Share of the measured matrix product in the same precision.
        intensity: Arithmetic intensity, FLOP/byte; see `Cost.intensity`.
        ratio_to_metseg, ratio_low, ratio_high: Speed over metseg's: in each round the two medians' quotient;
            then the median and the quartiles of the rounds.
        peak_memory_mb: Largest resident memory of the contestant's process, libraries included.
        other_cores: Median of what everything else on the machine used meanwhile, cores; 0 is quiet.
        rounds, steps: How often it had its turn, and the steps of all turns.
    """
    rows = [
        _row(measurement, group, found, limits)
        for group, found in measured
        for measurement in group.measurements
    ]
    return pd.DataFrame(rows)


def _row(measurement: Measurement, group: Group, found: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    ready, turns = found["ready"][measurement.key], [turns[measurement.key] for turns in found["rounds"]]
    seconds = np.quantile(_times(measurement, found), [0.25, 0.5, 0.75])
    unit, values = _in_unit(measurement, seconds)
    cost = Cost(*(ready[name] for name in ("flop", "elements", "weights")))
    row = {
        "group": group.name,
        "contestant": measurement.contestant,
        "library": measurement.library,
        "network": measurement.network,
        "task": measurement.task,
        "size": measurement.size,
        "batch": measurement.batch,
        "precision": ready["precision"],
        "layout": measurement.layout,
        "threads": ready["threads"],
        "median": values[1],
        "q25": min(values[0], values[2]),
        "q75": max(values[0], values[2]),
        "unit": unit,
    }
    if measurement.network:
        gflop = cost.flop * (TRAINING_PASSES if measurement.task == "training" else 1) / 1e9
        gflops = gflop * measurement.batch / seconds[1]
        limit = limits.gflops.get(ready["precision"], np.nan)
        row |= {"gflop_per_image": gflop, "gflops": gflops, "fraction_of_limit": gflops / limit}
        if ready["precision"] in ELEMENT_BYTES:  # an int8 network holds other numbers too
            row["intensity"] = cost.intensity(batch=measurement.batch, precision=ready["precision"])
    return row | {
        **_ratio(measurement, group, found),
        "peak_memory_mb": max(turn["peak_mb"] for turn in turns),
        "other_cores": float(np.median([turn["other_cores"] for turn in turns])),
        "rounds": len(turns),
        "steps": len(_times(measurement, found)),
    }


def _times(measurement: Measurement, found: Mapping[str, Any]) -> list[float]:
    return [seconds for turns in found["rounds"] for seconds in turns[measurement.key]["seconds"]]


def _in_unit(measurement: Measurement, seconds: np.ndarray) -> tuple[str, np.ndarray]:
    if measurement.task == "training" or (measurement.task == "inference" and measurement.batch > 1):
        return "images/s", measurement.batch / seconds
    return ("s", seconds) if measurement.task == "open" else ("ms", 1000 * seconds)


def _ratio(measurement: Measurement, group: Group, found: Mapping[str, Any]) -> dict[str, float]:
    """Returns the speed over metseg's on the same task, where the group has others to hold against it."""
    names = ("ratio_to_metseg", "ratio_low", "ratio_high")
    alike = [
        c
        for c in group.measurements
        if (c.task, c.network, c.size) == (measurement.task, measurement.network, measurement.size)
    ]
    base = next((c for c in alike if c.contestant == BASELINE), None)
    if base is None or len(alike) < 2:
        return dict.fromkeys(names, np.nan)
    rounds = [
        np.median(turns[base.key]["seconds"]) / np.median(turns[measurement.key]["seconds"])
        for turns in found["rounds"]
    ]
    low, middle, high = np.quantile(rounds, [0.25, 0.5, 0.75])
    return dict(zip(names, (middle, low, high), strict=True))


def profile_table(group: Group, found: Mapping[str, Any], limits: Limits) -> pd.DataFrame:
    """Returns where the time of metseg's training step goes, a row for each network and kind of operation.

    Columns:
        network, kind: See `with_profile.kind_of`; the largest first.
        share: Of the time of all operations, median of the rounds. Operations that run beside each other
            count with all of their time, so that it is no share of the step to the last percent.
        ms: That share of the median step.
        gflops, fraction_of_limit: Of the convolutions in that time.
        faster_alone: How many times as fast a step would be if all but the convolutions cost nothing.
    """
    rows = []
    for measurement in group.measurements:
        turns = [turns[measurement.key] for turns in found["rounds"]]
        shares = pd.DataFrame([turn["parts"] for turn in turns]).fillna(0.0)
        share = shares.div(shares.sum(axis=1), axis=0).median().sort_values(ascending=False)
        step, ready = float(np.median(_times(measurement, found))), found["ready"][measurement.key]
        for kind, part in share.items():
            row = {"network": measurement.network, "kind": kind, "share": part, "ms": 1000 * part * step}
            if kind == "convolution":
                flop = TRAINING_PASSES * measurement.batch * ready["flop"]
                gflops = flop / 1e9 / (part * step)
                limit = limits.gflops.get(ready["precision"], np.nan)
                row |= {"gflops": gflops, "fraction_of_limit": gflops / limit, "faster_alone": 1 / part}
            rows.append(row)
    columns = ["network", "kind", "share", "ms", "gflops", "fraction_of_limit", "faster_alone"]
    return pd.DataFrame(rows, columns=columns)
