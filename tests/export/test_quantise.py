"""Eight-bit networks: what is rounded, how close they stay, and by whom they are scaled."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationMethod, create_calibrator
from tiny_scans import finished_training

from metseg.data.cases import find_cases, load_case
from metseg.export.onnx import save_onnx
from metseg.export.quantise import _large_convolutions, _ranges, calibration_slices, quantise
from metseg.inference.engines import OnnxRuntimeEngine, OpenVinoEngine
from metseg.models import build_model
from metseg.preprocessing.pipeline import Preprocessing, preprocess

CONFIG = Preprocessing(image_size=32, clip_limit=0.0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> Path:
    return finished_training(tmp_path_factory)


@pytest.fixture(scope="module")
def slices(model_dir) -> list[np.ndarray]:
    return calibration_slices(find_cases(model_dir.parent.parent / "scans"), CONFIG, slices=12)


def test_slices_are_spread_over_all_of_them(model_dir):
    cases = find_cases(model_dir.parent.parent / "scans")[:2]  # of 3 slices each
    first, last = load_case(cases[0]).image, load_case(cases[1]).image
    found = calibration_slices(cases, CONFIG, slices=3)  # of 0 to 5: 0, 2 and 4
    expected = [preprocess(image, CONFIG) for image in (first[0], first[2], last[1])]
    np.testing.assert_array_equal(found, expected)
    assert len(calibration_slices(cases, CONFIG, slices=99)) == 6


@pytest.mark.slow
def test_slice_by_slice_gives_the_ranges_of_all_at_once(model_dir, slices, tmp_path):
    source = model_dir / "model.onnx"
    calibrater = create_calibrator(
        source, ["Conv"], str(tmp_path / "augmented.onnx"), calibrate_method=CalibrationMethod.Entropy
    )
    inputs = iter([{"image": each[None]} for each in slices])
    calibrater.collect_data(SimpleNamespace(get_next=lambda: next(inputs, None)))
    expected, found = calibrater.compute_data(), _ranges(source, slices, tmp_path)
    assert set(found.keys()) == set(expected.keys())
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name].range_value, tensor.range_value, name)


@pytest.mark.slow
def test_large_convolutions_behind_the_first_pooling_are_rounded(model_dir, slices, tmp_path):
    source, target = model_dir / "model.onnx", tmp_path / "model.onnx"
    quantise(source, target, slices)
    graph = onnx.load(target).graph
    makes = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    rounded = [makes[n.input[1]].op_type == "DequantizeLinear" if n.input[1] in makes else False
               for n in convolutions]  # fmt: skip
    # x00 has two of 3 × 3 before the first pooling; the last two are the heads of 1 × 1.
    assert sum(rounded) == len(convolutions) - 4
    bits = {tensor.data_type for tensor in graph.initializer if tensor.name.endswith("_quantized")}
    assert onnx.TensorProto.INT8 in bits and target.stat().st_size < 2 * source.stat().st_size

    exact, emulated, native = (
        engine.run(engine.outputs, slices[0])[0]
        for engine in (
            OnnxRuntimeEngine(source.read_bytes()),
            OnnxRuntimeEngine(target.read_bytes()),
            OpenVinoEngine(target.read_bytes(), "int8"),
        )
    )
    assert np.ptp(exact) > 0.1
    assert 0 < np.abs(emulated - exact).mean() < 0.02
    np.testing.assert_allclose(native, emulated, atol=0.1)
    assert np.abs(native - emulated).mean() < 0.02


@pytest.mark.slow
def test_a_stride_counts_as_a_pooling(tmp_path):
    network = build_model("unet", filters=(4, 8), encoder="efficientnet_lite0")
    save_onnx(network, tmp_path / "model.onnx", image_size=32)
    # Two stages of the encoder have three depthwise convolutions behind its stem, which sees the whole size;
    # the decoder's two nodes have two convolutions each. Those of 1 × 1, and the head, stay out.
    assert len(_large_convolutions(tmp_path / "model.onnx")) == 3 + 2 + 2
