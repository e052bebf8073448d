"""Measured groups whose figures are known by hand."""

from typing import Any

import pytest

from metseg.benchmark.plan import Measurement

COSTS = {
    "matmul": {"flop": 2_000_000_000, "elements": 3_000_000, "weights": 0},
    "bandwidth": {"flop": 100_000_000, "elements": 300_000_000, "weights": 0},
    "inference": {"flop": 1, "elements": 1, "weights": 1},
    "training": {"flop": 1_000_000_000, "elements": 10_000_000, "weights": 1_000_000},
}
MeasuredGroup = tuple[list[Measurement], dict[str, Any]]


@pytest.fixture
def measured():
    """A function that returns a group and what a run keeps of it.

    Each contestant takes one step a round, whose seconds are told by contestant and round.
    """

    def make(group: list[Measurement], times: list[list[float]]) -> MeasuredGroup:
        ready = {
            each.key: {"precision": each.precision or "float32", "threads": 2, "cost": COSTS[each.task]}
            for each in group
        }
        rounds = [
            {
                each.key: {"seconds": [seconds[k]], "other_cores": 0.0, "peak_mb": 100.0 + k}
                for each, seconds in zip(group, times, strict=True)
            }
            for k in range(len(times[0]))
        ]
        return group, {"ready": ready, "rounds": rounds}

    return make


@pytest.fixture
def limits_group(measured) -> MeasuredGroup:
    """Products of 2·10⁹ operations, the fastest in 0.02 s and 0.01 s; a stream of 12·10⁸ bytes in 0.1 s."""
    group = [Measurement("machine", "matmul", size=1000, precision=p) for p in ("float32", "bfloat16")]
    group.append(Measurement("machine", "bandwidth", size=400))
    return measured(group, [[0.04, 0.02], [0.01, 0.03], [0.1, 0.2]])


@pytest.fixture
def training_group(measured) -> MeasuredGroup:
    """Of three contestants each image costs 10⁹ operations forward; metseg takes 1 s a step of 8 images.

    Keras takes 2 s and then 4 s; MONAI 0.5 s.
    """
    shared = {"task": "training", "network": "nested_unet", "size": 128, "batch": 8, "filters": (4, 8)}
    monai = Measurement("monai", precision="bfloat16", layout="channels_last", **shared)
    group = [Measurement("metseg", **shared), Measurement("keras", **shared), monai]
    return measured(group, [[1.0, 1.0], [2.0, 4.0], [0.5, 0.5]])


@pytest.fixture
def scaling_group(measured) -> MeasuredGroup:
    """A training step that takes as many seconds as there are millions of pixels: its exponent is 1."""
    shared = {"task": "training", "network": "nested_unet", "batch": 2, "filters": (4, 8)}
    group = [Measurement("metseg", size=size, **shared) for size in (100, 200)]
    return measured(group, [[0.01, 0.01], [0.04, 0.04]])
