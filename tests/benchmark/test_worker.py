"""What a contestant's process answers, and what it is charged with."""

import json
import subprocess
import sys

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.benchmark.plan import Measurement
from metseg.benchmark.worker import peak_memory_mb, working


def test_a_worker_takes_turns(tmp_path):
    with working([Measurement("machine", "bandwidth", size=1)], tmp_path) as (worker,):
        # 250,000 numbers of 4 bytes, three arrays
        cost = {"flop": 250_000, "elements": 750_000, "weights": 0}
        assert worker.ready() == {"precision": "float32", "threads": cores(), "cost": cost}
        for _ in range(2):
            answer = worker.turn(0.01)
            assert sum(answer["seconds"]) >= 0.01 and min(answer["seconds"]) > 0
            assert answer["other_cores"] >= 0 and answer["peak_mb"] > 10


def test_a_contestant_that_stops_is_one_sentence(tmp_path):
    impossible = [Measurement("machine", "bandwidth", size=-1)]
    complaint = pytest.raises(MetsegError, match="machine stopped at bandwidth .ValueError.*goes on")
    with working(impossible, tmp_path) as (worker,), complaint as caught:
        worker.ready()
    assert "\n" not in str(caught.value)


def test_a_contestant_that_is_killed_is_one_sentence(tmp_path):
    with working([Measurement("machine", "bandwidth", size=1)], tmp_path) as (worker,):
        worker.ready()
        worker._process.kill()
        with pytest.raises(MetsegError, match=r"machine stopped at bandwidth \(exit code -9\)"):
            worker.turn(0.01)


def test_memory_is_the_childs_own():
    """The parent holds 300 MB when it starts a child that holds next to nothing."""
    held = np.ones(300_000_000, np.uint8)
    code = "from metseg.benchmark.worker import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held[-1] and peak_memory_mb() > 300
    assert 5 < json.loads(done.stdout) < 300
