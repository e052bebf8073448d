"""The machine's own limits: matrix products and the bandwidth of memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from metseg.base.hardware import cores
from metseg.benchmark.contestant import Contestant, Cost, repeated
from metseg.benchmark.plan import Measurement


def prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Builds the matrix product, or the sum of two long vectors, that a limit is measured with."""
    return _product(measurement) if measurement.task == "matmul" else _stream(measurement)


def _product(measurement: Measurement) -> Contestant:
    """A product of two square matrices, 2·n³ operations, in TensorFlow as the trainings are."""
    import tensorflow as tf

    shape, dtype = (measurement.size, measurement.size), measurement.precision
    a, b = (tf.cast(tf.random.stateless_normal(shape, (0, k)), dtype) for k in range(2))
    cost = Cost(2 * measurement.size**3, 3 * measurement.size**2)
    return Contestant(repeated(lambda: tf.linalg.matmul(a, b)), dtype, cost, cores())


def _stream(measurement: Measurement) -> Contestant:
    """STREAM's Add, c = a + b in float32, on all cores: 12 bytes a number, as it counts them.

    The arrays have to be much larger than the last-level cache: what is measured is the main memory.

    Reference:
        McCalpin 1995, "Memory bandwidth and machine balance in current high performance computers".
    """
    length = measurement.size * 1_000_000 // 4
    a, b, c = (np.ones(length, np.float32) for _ in range(3))
    bounds = np.linspace(0, length, cores() + 1).astype(int)
    parts = [slice(*pair) for pair in zip(bounds, bounds[1:], strict=False)]
    pool = ThreadPoolExecutor(len(parts))

    def add() -> None:
        list(pool.map(lambda part: np.add(a[part], b[part], out=c[part]), parts))

    return Contestant(repeated(add), "float32", Cost(length, 3 * length), len(parts))
