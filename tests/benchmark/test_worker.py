"""What a contestant's process answers, and what it is charged with."""

import json
import subprocess
import sys

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.benchmark.worker import peak_memory_mb, working


def test_a_worker_takes_turns_and_its_death_is_one_sentence(bright):
    each, folder = bright
    with working([each], folder) as (worker,):
        assert worker.ready() == {"precision": "float32", "threads": cores(), "flop": 7}
        for _ in range(2):
            answer = worker.turn(0.01)
            assert sum(answer["seconds"]) >= 0.01 and min(answer["seconds"]) > 0
            assert answer["other_cores"] >= 0 and answer["peak_mb"] > 10
        worker._process.kill()
        with pytest.raises(MetsegError, match=r"onnxruntime stopped at inference \(exit code -9\)"):
            worker.turn(0.01)


def test_a_contestant_that_stops_is_one_sentence(bright, tmp_path):
    complaint = pytest.raises(MetsegError, match="onnxruntime stopped at inference .MetsegError.*goes on")
    with working([bright[0]], tmp_path / "nothing exported") as (worker,), complaint as caught:
        worker.ready()
    assert "\n" not in str(caught.value)


def test_memory_is_the_childs_own():
    """The parent holds 300 MB when it starts a child that holds next to nothing."""
    held = np.ones(300_000_000, np.uint8)
    code = "from metseg.benchmark.worker import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held[-1] and peak_memory_mb() > 300
    assert 5 < json.loads(done.stdout) < 300
