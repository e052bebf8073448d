"""A float32 ONNX network becomes one of 8-bit integers, with scales from training slices."""

import contextlib
import io
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType, create_calibrator, quantize_static
from onnxruntime.quantization.calibrate import save_tensors_data

from metseg.base.files import replacing

_AT_ONCE = 4  # slices whose features are kept together: of 40 they are gigabytes


def quantise(source: Path, target: Path, slices: Sequence[np.ndarray]) -> None:
    """Writes a network whose large convolutions take and multiply 8-bit integers.

    Convolutions of 3 × 3 and more are quantised, weights by output channel, inputs by the range that loses
    least information on the slices (Kullback–Leibler divergence). Those of the whole size before the first
    pooling, or stride, stay as they are: rounding them cost most of the Dice that int8 lost, and they take
    little time. So do 1 × 1 convolutions, which are no faster in int8.

    Args:
        source: ONNX file in float32, with an input of (B, S, S, C).
        target: The file to write: float32 outside, QuantizeLinear and DequantizeLinear around what was
            quantised.
        slices: (S, S, C) float32 in [0, 1], of training patients.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, equations 1 and 3. Migacz 2017, "8-bit inference with TensorRT".
    """
    level, method = logging.root.level, CalibrationMethod.Entropy
    # It prints each step of the calibration.
    with (
        replacing(target) as draft,
        TemporaryDirectory(prefix="metseg-ranges-") as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        ranges, augmented = Path(folder, "ranges.json"), str(Path(folder, "augmented.onnx"))
        calibrator = create_calibrator(
            Path(source), ["Conv"], augmented_model_path=augmented, calibrate_method=method
        )
        name, parts = calibrator.infer_session.get_inputs()[0].name, -(-len(slices) // _AT_ONCE)
        for part in range(parts):
            inputs = iter([{name: image[None]} for image in slices[part::parts]])
            calibrator.collect_data(SimpleNamespace(get_next=partial(next, inputs, None)))
        save_tensors_data(calibrator.compute_data(), ranges)
        logging.root.setLevel(logging.ERROR)  # it asks for shapes to be inferred first, which nothing gains
        try:
            quantize_static(
                source,
                draft,
                None,
                calibration_cache_path=ranges,
                op_types_to_quantize=["Conv"],
                nodes_to_quantize=_large_convolutions(source),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
            )
        finally:
            logging.root.setLevel(level)


def _large_convolutions(path: Path) -> list[str]:
    graph = onnx.load(path).graph
    kernels = {tensor.name: tensor.dims[2:] for tensor in graph.initializer}
    pooled, names = set[str](), []  # what a pooling came before
    for node in graph.node:
        behind = not pooled.isdisjoint(node.input)
        if behind or _halves(node):
            pooled.update(node.output)
        if behind and node.op_type == "Conv" and min(kernels[node.input[1]]) > 1:
            names.append(node.name)
    return names


def _halves(node: onnx.NodeProto) -> bool:
    strides = next((each.ints for each in node.attribute if each.name == "strides"), (1,))
    return max(strides) > 1 and node.op_type in ("MaxPool", "Conv")
