"""Eight-bit networks: what is rounded, how close they stay, and by whom they are scaled."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_scans import finished_training

from metseg.data.cases import find_cases, load_case
from metseg.export.onnx import save_onnx
from metseg.export.quantise import _large_convolutions, quantise
from metseg.inference.engines import OnnxRuntimeEngine, OpenVinoEngine
from metseg.models import build_model
from metseg.preprocessing.pipeline import Preprocessing, network_input

CONFIG = Preprocessing(image_size=32, clip_limit=0.0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> Path:
    return finished_training(tmp_path_factory)


@pytest.mark.slow
def test_large_convolutions_behind_the_first_pooling_are_rounded(model_dir, tmp_path):
    cases = find_cases(model_dir.parent.parent / "scans")
    slices = [image for case in cases for image in network_input(load_case(case).volume, CONFIG)]
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
