"""What a worker asks of a contestant: steps for some seconds, and what a step computes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from metseg.benchmark.plan import Measurement

_BATCHES = 4  # kept in memory, so that no contestant sees one batch alone


@dataclass(frozen=True)
class Contestant:
    """One contestant, ready to work.

    Attributes:
        run: Takes steps until so many seconds have passed, at least one; returns the seconds of each.
        precision: What it multiplies in.
        flop: Operations of the convolutions on one image forward, without biases, or of a matrix product; a
            multiplication and its addition are two.
        threads: With which the library computes a step.
    """

    run: Callable[[float], list[float]]
    precision: str = ""
    flop: int = 0
    threads: int = 1


def repeated(step: Callable[[], object]) -> Callable[[float], list[float]]:
    """Returns a function that calls `step` until so many seconds have passed and times each call."""

    def run(seconds: float) -> list[float]:
        times = []
        start = now = time.perf_counter()
        while not times or now - start < seconds:
            step()
            before, now = now, time.perf_counter()
            times.append(now - before)
        return times

    return run


def random_pairs(measurement: Measurement) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, S, S, 3) float32 in [0, 1] and masks (N, S, S, 1) float32, the same for everyone."""
    rng = np.random.default_rng(0)
    shape = (_BATCHES * measurement.batch, measurement.size, measurement.size)
    images = rng.random(prod(shape) * 3, np.float32).reshape(*shape, 3)
    return images, (rng.random(shape) < 0.02).astype(np.float32)[..., None]
