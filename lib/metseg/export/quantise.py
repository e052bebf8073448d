"""A float32 ONNX network becomes one of 8-bit integers, with scales from training slices."""

import contextlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    create_calibrator,
    quantize_static,
)
from onnxruntime.quantization.calibrate import HistogramCollector, TensorsData, save_tensors_data

from metseg.base.files import replacing
from metseg.data.cases import CaseFiles
from metseg.export.onnx import spread_slices
from metseg.preprocessing.pipeline import Preprocessing, network_input


def calibration_slices(
    cases: Iterable[CaseFiles], config: Preprocessing, *, slices: int = 40
) -> list[np.ndarray]:
    """Returns network input, evenly spaced over all slices of some cases: (S, S, C) float32 each."""
    return [
        image
        for volume, places in spread_slices(cases, slices)
        for image in network_input(volume, config)[places]
    ]


def quantise(source: Path, target: Path, slices: Iterable[np.ndarray]) -> None:
    """Writes a network whose large convolutions take and multiply 8-bit integers.

    Convolutions of 3 × 3 and more are quantised, weights by output channel, inputs by the range that loses
    least information on the slices (Kullback–Leibler divergence). Those of the whole size before the first
    pooling, or stride, stay as they are: there few channels carry the whole image, rounding them cost most of
    the Dice that int8 lost, and they take little time. So do 1 × 1 convolutions: the attention gates, the
    head, and those of a pretrained encoder, which are no faster in int8.

    Args:
        source: ONNX file in float32, with an input of (B, S, S, C).
        target: The file to write: float32 outside, QuantizeLinear and DequantizeLinear around what was
            quantised.
        slices: (S, S, C) float32 in [0, 1], of training patients.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, equations 1 and 3. Migacz 2017, "8-bit inference with TensorRT".
    """
    # It prints each step of the calibration.
    with (
        replacing(target) as partial,
        TemporaryDirectory(prefix="metseg-ranges-") as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        ranges = Path(folder) / "ranges.json"
        save_tensors_data(_ranges(source, list(slices), Path(folder)), ranges)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it asks for shapes to be inferred first, which nothing gains
        try:
            quantize_static(
                source,
                partial,
                None,
                calibration_cache_path=ranges,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_quantize=_large_convolutions(source),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Entropy,
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


def _ranges(source: Path, slices: Sequence[np.ndarray], folder: Path) -> TensorsData:
    """Returns the range to quantise for each input of a convolution.

    `collect_data` would keep the features of all slices until the last has run, gigabytes for 40 of them.
    A histogram takes them slice by slice, and has its bins from the first one: for each feature that with the
    largest value, so that it is the histogram of all at once.
    """
    calibrater = create_calibrator(
        Path(source),
        ["Conv"],
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=CalibrationMethod.Entropy,
    )
    session = calibrater.infer_session
    image_name, wanted = session.get_inputs()[0].name, sorted(calibrater.tensors_to_calibrate)

    def features(image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(wanted, session.run(wanted, {image_name: image[None]}), strict=True))

    largest = [{name: np.abs(each).max() for name, each in features(image).items()} for image in slices]
    first = {name: int(np.argmax([each[name] for each in largest])) for name in wanted}
    options = ("method", "symmetric", "num_bins", "num_quantized_bins", "percentile", "scenario")
    histograms = HistogramCollector(*(getattr(calibrater, name) for name in options))
    for is_turn_of_first in (True, False):
        for k, image in enumerate(slices):
            found = features(image).items()
            histograms.collect({name: each for name, each in found if (first[name] == k) == is_turn_of_first})
    return TensorsData(CalibrationMethod.Entropy, histograms.compute_collection_result())
