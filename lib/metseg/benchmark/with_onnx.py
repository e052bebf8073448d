"""Contestants that run an exported network, without TensorFlow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from metseg.base.files import read_json
from metseg.base.hardware import cores
from metseg.benchmark.contestant import Contestant, random_pairs, repeated
from metseg.benchmark.plan import DTYPES, Measurement, onnx_path
from metseg.inference.engines import native, open_engine


def prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Opens an exported network as `Predictor` does (metseg), or in ONNX Runtime on all cores."""
    path = onnx_path(folder, measurement.network, measurement.size)
    flop = int(read_json(path.with_name("cost.json"))["flop"])
    images = random_pairs(measurement)[0][: measurement.batch]
    if measurement.library == "metseg":
        return _as_predictor(measurement, folder, images, flop)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return Contestant(repeated(lambda: session.run([output], {name: images})), "float32", flop, cores())


def _as_predictor(measurement: Measurement, folder: Path, images: np.ndarray, flop: int) -> Contestant:
    """One slice alone on all cores, as it is served; more are spread over the cores, as a volume's are."""
    precision = native({name: short for short, name in DTYPES.items()}[measurement.precision])
    path = onnx_path(folder, measurement.network, measurement.size, precision)
    engine = open_engine(path.read_bytes(), precision)
    names = engine.outputs[:1]
    pool = ThreadPoolExecutor(min(cores(), len(images)))

    def step() -> None:
        if len(images) == 1:
            engine.run(names, images[0], all_cores=True)
        else:
            list(pool.map(lambda image: engine.run(names, image), images))

    return Contestant(repeated(step), DTYPES[engine.precision], flop, cores())
