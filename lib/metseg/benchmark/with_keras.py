"""Contestants on Keras and TensorFlow: metseg's training, Keras by itself, and the export to ONNX."""

import time
from dataclasses import asdict
from math import prod
from pathlib import Path

from metseg.base.backend import keras
from metseg.base.files import write_json
from metseg.base.hardware import best_precision, cores
from metseg.benchmark.contestant import Contestant, Cost, random_pairs, repeated
from metseg.benchmark.plan import Measurement, onnx_path
from metseg.export.onnx import save_onnx
from metseg.export.quantise import quantise
from metseg.models import build_model
from metseg.models.fused import training_copy
from metseg.models.outputs import logits_model
from metseg.training.devices import shared_out
from metseg.training.losses import bce_dice


def prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Builds metseg's or Keras's training, or Keras's inference; or exports a network, and takes no step."""
    if measurement.task == "export":
        return _export(measurement, folder)
    return _training(measurement) if measurement.task == "training" else _inference(measurement)


def convolutions(network: keras.Model, size: int) -> Cost:
    """Returns the cost of a network's convolutions on one image of side `size` px."""
    image = keras.Input((size, size, network.input_shape[-1]))
    total = Cost()
    for layer in keras.models.clone_model(network, input_tensors=image).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            inside, outside = layer.input.shape[1:], layer.output.shape[1:]
            where = inside if isinstance(layer, keras.layers.Conv2DTranspose) else outside
            weights = int(layer.kernel.shape.num_elements())
            total += Cost(2 * prod(where[:2]) * weights, prod(inside) + prod(outside), weights)
    return total


def _network(measurement: Measurement, precision: str) -> keras.Model:
    """Keras's own layers; below float32 by its mixed policy, which keeps the weights in float32."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    return build_model(measurement.network, filters=measurement.filters)


def _training(measurement: Measurement) -> Contestant:
    precision = measurement.precision or best_precision().removeprefix("mixed_")
    network = _network(measurement, precision)
    cost = convolutions(network, measurement.size)
    if measurement.library == "metseg":  # as `metseg.training.fit` does
        network, loss = training_copy(network), shared_out(bce_dice)
    else:
        network, loss = logits_model(network), bce_dice
    network.compile(keras.optimizers.Adam(1e-3), loss)
    images, masks = random_pairs(measurement)

    def run(seconds: float) -> list[float]:
        clock = _StepClock(seconds)
        network.fit(
            images, masks, batch_size=measurement.batch, epochs=1_000_000, shuffle=False, verbose=0,
            callbacks=[clock],
        )  # fmt: skip
        return clock.times

    return Contestant(run, precision, cost, cores())


class _StepClock(keras.callbacks.Callback):
    """Times each training step, fetching its batch included, and ends the training after some seconds."""

    def __init__(self, seconds: float):
        super().__init__()
        self.times: list[float] = []
        self._end = time.perf_counter() + seconds

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self.times.append(now - self._began)
        self.model.stop_training = now >= self._end


def _inference(measurement: Measurement) -> Contestant:
    network = _network(measurement, "float32")
    images = random_pairs(measurement)[0][: measurement.batch]
    cost = convolutions(network, measurement.size)
    return Contestant(repeated(lambda: network.predict(images, verbose=0)), "float32", cost, cores())


def _export(measurement: Measurement, folder: Path) -> Contestant:
    """Writes the network as ONNX as a finished training does, attention gates included, and in int8.

    The cost of its convolutions lies beside it, which ONNX no longer tells.
    """
    network = _network(measurement, "float32")
    whole, int8 = (onnx_path(folder, measurement.network, measurement.size, name) for name in ("", "int8"))
    write_json(whole.with_name("cost.json"), asdict(convolutions(network, measurement.size)))
    save_onnx(network, whole, image_size=measurement.size)
    quantise(whole, int8, random_pairs(measurement)[0][:1])  # speed does not depend on the scales
    return Contestant(lambda seconds: [])
