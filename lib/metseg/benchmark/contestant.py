"""What a worker asks of a contestant: steps for some seconds, and what a step computes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np

from metseg.benchmark.plan import Measurement

BATCHES = 4  # kept in memory, so that no contestant sees one batch alone
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}
TRAINING_PASSES = 3  # forward, gradient of the inputs, gradient of the weights: as many operations each


@dataclass(frozen=True)
class Cost:
    """The cost of one image's way forward through some convolutions; biases are left out.

    Attributes:
        flop: Floating-point operations; a multiplication and its addition are two.
        elements: Numbers that the convolutions read and write, each input and output once.
        weights: Numbers in their kernels: taps · channels in / groups · channels out.
    """

    flop: int = 0
    elements: int = 0
    weights: int = 0

    def __add__(self, other: Self) -> Self:
        return Cost(self.flop + other.flop, self.elements + other.elements, self.weights + other.weights)

    def intensity(self, *, batch: int, precision: str) -> float:
        """Returns the arithmetic intensity of a batch, FLOP/byte.

        Every convolution reads its inputs and its kernel once and writes its outputs once, from and to main
        memory: what caches hold from one convolution to the next is not counted. A training does three times
        the operations on three times the traffic, which leaves the quotient as it is.

        Reference:
            Williams et al. 2009, "Roofline", doi:10.1145/1498765.1498785, operational intensity.
        """
        moved = ELEMENT_BYTES[precision] * (batch * self.elements + self.weights)
        return batch * self.flop / moved


@dataclass(frozen=True)
class Contestant:
    """One contestant, ready to work.

    Attributes:
        run: Takes steps until so many seconds have passed, at least one; returns the seconds of each.
        precision: What it multiplies in; "" where that means nothing.
        cost: Of the network's convolutions, one image forward; empty for other tasks.
        threads: With which the library computes a step.
    """

    run: Callable[[float], list[float]]
    precision: str = ""
    cost: Cost = Cost()
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
    shape = (BATCHES * measurement.batch, measurement.size, measurement.size)
    images = rng.random(prod(shape) * 3, np.float32).reshape(*shape, 3)
    return images, (rng.random(shape) < 0.02).astype(np.float32)[..., None]
