"""The libraries that run a network: the same numbers, from several threads, and float32 where they must."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_runs import write_bright_model

from metseg.inference.engines import OnnxRuntimeEngine, OpenVinoEngine, open_engine


@pytest.fixture
def content(tmp_path) -> bytes:
    return (write_bright_model(tmp_path, gates=(16, 4)) / "model.onnx").read_bytes()


@pytest.fixture
def image() -> np.ndarray:
    """The left half white, the right half black."""
    image = np.zeros((32, 32, 3), np.float32)
    image[:, :16] = 1
    return image


@pytest.mark.parametrize("make", [OnnxRuntimeEngine, lambda content: OpenVinoEngine(content, "bf16")])
def test_outputs_by_name(make, content, image):
    engine = make(content)
    assert engine.input_shape == (32, 32, 3)
    assert engine.outputs == ("prob", "gate_0", "gate_1")
    coarse, prob = engine.run(["gate_0", "prob"], image)
    assert prob.shape == (32, 32, 1) and prob.dtype == np.float32
    np.testing.assert_allclose(prob[:, :, 0], image[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(coarse[:, :, 0], [[1, 0], [1, 0]], atol=0.01)
    mirrored = engine.run(["prob"], image[:, ::-1])[0]  # a view, not in the order of memory
    np.testing.assert_array_equal(mirrored, prob[:, ::-1])


@pytest.mark.parametrize("make", [OnnxRuntimeEngine, lambda content: OpenVinoEngine(content, "bf16")])
def test_threads_do_not_mix_their_slices(make, content):
    engine = make(content)
    images = [np.full((32, 32, 3), k % 2, np.float32) for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        prob_maps = list(pool.map(lambda each: engine.run(["prob"], each)[0], images))
    assert [round(float(each.mean())) for each in prob_maps] == [0, 1] * 20


def in_a_process_of_its_own(path, code: str) -> str:
    """Runs code that finds a network's file as `content`; returns what it prints."""
    before = (
        f"from metseg.inference.engines import OpenVinoEngine\ncontent = open({str(path)!r}, 'rb').read()\n"
    )
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return done.stdout.strip()


def test_no_tensor_is_made_before_the_constructor_has_made_one(content, tmp_path):
    """Two threads that made the first at once waited for each other for ever."""
    code = """
import openvino
made, plain = [], openvino.Tensor
openvino.Tensor = lambda *given: made.append(given) or plain(*given)
OpenVinoEngine(content, "bf16")
print(len(made))
"""
    assert in_a_process_of_its_own(tmp_path / "model.onnx", code) == "1"


def test_an_interrupt_after_networks_were_closed_in_the_order_they_were_opened(content, tmp_path):
    """OpenVINO left signals a stack that was gone, and any signal ended the process."""
    code = """
import os, signal
import numpy as np
opened = [OpenVinoEngine(content, precision) for precision in ("fp32", "bf16")]
for each in opened:
    each.run(each.outputs, np.zeros(each.input_shape, np.float32))
while opened:
    del each, opened[0]
    each = None
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert in_a_process_of_its_own(tmp_path / "model.onnx", code) == "interrupted"


@pytest.mark.parametrize("make", [OnnxRuntimeEngine, lambda content: OpenVinoEngine(content, "bf16")])
def test_all_cores_compute_the_same_numbers_as_one(make, content, monkeypatch):
    monkeypatch.setattr("metseg.inference.engines.cores", lambda: 2)
    engine, image = make(content), np.random.default_rng(0).random((32, 32, 3), np.float32)
    one, all_of_them = (engine.run(engine.outputs, image, all_cores=each) for each in (False, True))
    for a, b in zip(one, all_of_them, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("native", [True, False])
def test_float32_takes_the_place_of_what_is_not_native(precision, native, content, monkeypatch):
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: native)
    engine = open_engine(content, precision)
    assert engine.precision == (precision if native else "fp32")
    assert engine.library == ("ONNX Runtime" if engine.precision == "fp32" else "OpenVINO")


@pytest.mark.parametrize("make", [OnnxRuntimeEngine, lambda content: OpenVinoEngine(content, "int8")])
def test_what_is_no_network(make):
    with pytest.raises(Exception):  # noqa: B017 - each library's own
        make(b"no network")
