"""What a contestant's process answers, and what it is charged with."""

import json
import subprocess
import sys

import numpy as np
import pytest

from metseg.base.hardware import cores
from metseg.benchmark.contestant import random_pairs, repeated
from metseg.benchmark.plan import Measurement
from metseg.benchmark.process import working
from metseg.benchmark.worker import peak_memory_mb


def test_a_worker_takes_turns():
    with working([Measurement("machine", "bandwidth", size=1)]) as (worker,):
        # 250,000 numbers of 4 bytes, three arrays
        cost = {"flop": 250_000, "elements": 750_000, "weights": 0}
        assert worker.ready() == {"precision": "float32", "threads": cores(), **cost}
        for _ in range(2):
            answer = worker.turn(0.01)
            assert sum(answer["seconds"]) >= 0.01 and min(answer["seconds"]) > 0
            assert answer["other_cores"] >= 0 and answer["peak_mb"] > 10


def test_memory_is_the_childs_own():
    """The parent holds 300 MB when it starts a child that holds next to nothing."""
    held = np.ones(300_000_000, np.uint8)
    code = "from metseg.benchmark.worker import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held[-1] and peak_memory_mb() > 300
    assert 5 < json.loads(done.stdout) < 300


def test_a_step_that_has_begun_is_finished():
    calls = []
    assert len(repeated(lambda: calls.append(1))(0.0)) == len(calls) == 1


@pytest.mark.parametrize("batch", [1, 8])
def test_everyone_sees_the_same_images(batch):
    measurement = Measurement("metseg", "training", size=16, batch=batch)
    images, masks = random_pairs(measurement)
    assert images.shape == (4 * batch, 16, 16, 3) and masks.shape == (4 * batch, 16, 16, 1)
    assert images.dtype == masks.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and set(np.unique(masks)) <= {0, 1}
    np.testing.assert_array_equal(random_pairs(measurement)[0], images)
