"""Measured groups whose figures are known by hand."""

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SIZE, write_bright_model

from metseg.base.files import write_json
from metseg.benchmark import run
from metseg.benchmark.plan import Measurement, onnx_path

FLOP = {"matmul": 2_000_000_000, "inference": 1, "training": 1_000_000_000}
MeasuredGroup = tuple[list[Measurement], dict[str, Any]]


@pytest.fixture
def measured():
    """A function that returns a group and what a run keeps of it.

    Each contestant takes one step a round, whose seconds are told by contestant and round.
    """

    def make(group: list[Measurement], times: list[list[float]]) -> MeasuredGroup:
        ready = {
            each.key: {"precision": each.precision or "float32", "threads": 2, "flop": FLOP[each.task]}
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
    """Products of 2·10⁹ operations, the fastest in 0.02 s and 0.01 s."""
    group = [Measurement("machine", "matmul", size=1000, precision=p) for p in ("float32", "bfloat16")]
    return measured(group, [[0.04, 0.02], [0.01, 0.03]])


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


@pytest.fixture
def bright(tmp_path) -> tuple[Measurement, Path]:
    """A contestant that needs no TensorFlow, and a run's folder with its network as it was exported."""
    path = onnx_path(tmp_path / "run", "nested_unet", SIZE)
    path.parent.mkdir(parents=True)
    shutil.copy(write_bright_model(tmp_path / "bright") / "model.onnx", path)
    write_json(path.with_name("cost.json"), {"flop": 7})
    path.with_name("model.int8.onnx").touch()  # so that nothing is exported
    return Measurement("onnxruntime", "inference", "nested_unet", size=SIZE), tmp_path / "run"


class FakeWorker:
    """Answers at once, and dies at a turn that is told."""

    turns = 0
    last_turn = 10**9

    def __init__(self, measurement):
        self.measurement = measurement

    def ready(self):
        return {"precision": "float32", "threads": 1, "flop": 2}

    def turn(self, seconds):
        type(self).turns += 1
        if self.turns == self.last_turn:
            raise KeyboardInterrupt
        return {"seconds": [seconds, self.turns], "other_cores": 0.0, "peak_mb": 1.0}


@pytest.fixture
def fake(monkeypatch):
    @contextmanager
    def working(measurements, folder):
        yield [FakeWorker(measurement) for measurement in measurements]

    monkeypatch.setattr(run, "working", working)
    monkeypatch.setattr(FakeWorker, "turns", 0)
    monkeypatch.setattr(FakeWorker, "last_turn", 10**9)
    return FakeWorker
