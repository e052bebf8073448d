"""A measured group whose figures are known by hand."""

from typing import Any

import pytest

from metseg.benchmark.plan import Group, Measurement


@pytest.fixture
def limits_group() -> tuple[Group, dict[str, Any]]:
    """Products of 2·10⁹ operations, the fastest in 0.02 s and 0.01 s; a stream of 12·10⁸ bytes in 0.1 s."""
    measurements = tuple(
        Measurement("machine", "matmul", size=1000, precision=p) for p in ("float32", "bfloat16")
    )
    group = Group("limits", (*measurements, Measurement("machine", "bandwidth", size=400)))
    times = {"float32": [0.04, 0.02], "bfloat16": [0.01, 0.03], "": [0.1, 0.2]}
    costs = {"matmul": (2_000_000_000, 3_000_000, 0), "bandwidth": (100_000_000, 300_000_000, 0)}
    return group, measured(group, [times[measurement.precision] for measurement in group.measurements], costs)


@pytest.fixture
def training_group() -> tuple[Group, dict[str, Any]]:
    """Of three contestants each image costs 10⁹ operations forward; metseg takes 1 s a step of 8 images.

    Keras takes 2 s and then 4 s; MONAI 0.5 s.
    """
    shared = {"task": "training", "network": "nested_unet", "size": 128, "batch": 8, "filters": (4, 8)}
    measurements = [Measurement("metseg", **shared), Measurement("keras", **shared)]
    measurements.append(Measurement("monai", precision="bfloat16", layout="channels_last", **shared))
    group = Group("training-nested_unet", tuple(measurements))
    costs = {"training": (1_000_000_000, 10_000_000, 1_000_000)}
    return group, measured(group, [[1.0, 1.0], [2.0, 4.0], [0.5, 0.5]], costs)


@pytest.fixture
def profile_group() -> tuple[Group, dict[str, Any]]:
    """A step of 8 images takes 1 s; of its operations' 2 s convolutions take 3/4, then 1/2 and 5/8."""
    measurement = Measurement("metseg", "profile", network="nested_unet", size=128, batch=8, filters=(4, 8))
    group = Group("profile", (measurement,))
    found = measured(group, [[1.0, 1.0, 1.0]], {"profile": (1_000_000_000, 10_000_000, 1_000_000)})
    for turns, share in zip(found["rounds"], (0.75, 0.5, 0.625), strict=True):
        turns[measurement.key]["parts"] = {"copies": 2 * (1 - share), "convolution": 2 * share}
    return group, found


@pytest.fixture
def scaling_group() -> tuple[Group, dict[str, Any]]:
    """A training step that takes as many seconds as there are millions of pixels: its exponent is 1."""
    shared = {"task": "training", "network": "nested_unet", "batch": 2, "filters": (4, 8)}
    group = Group(
        "scaling-training-nested_unet", tuple(Measurement("metseg", size=s, **shared) for s in (100, 200))
    )
    costs = {"training": (1_000_000_000, 10_000_000, 1_000_000)}
    return group, measured(group, [[0.01, 0.01], [0.04, 0.04]], costs)


def measured(group: Group, times: list[list[float]], costs: dict[str, tuple]) -> dict[str, Any]:
    """Returns what a run keeps of a group: one step a round, whose seconds are given by contestant."""
    names = ("flop", "elements", "weights")
    return {
        "ready": {
            measurement.key: {
                "precision": measurement.precision or "float32",
                "threads": 2,
                **dict(zip(names, costs[measurement.task], strict=True)),
            }
            for measurement in group.measurements
        },
        "rounds": [
            {
                measurement.key: {"seconds": [seconds[k]], "other_cores": 0.0, "peak_mb": 100.0 + k}
                for measurement, seconds in zip(group.measurements, times, strict=True)
            }
            for k in range(len(times[0]))
        ],
    }
