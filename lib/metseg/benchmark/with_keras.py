"""Contestants on Keras and TensorFlow: trainings, Keras by itself, the export, the limit."""

import time
from math import prod
from pathlib import Path

from metseg.base.backend import keras
from metseg.base.files import write_json
from metseg.base.hardware import best_precision, cores
from metseg.benchmark.contestant import Contestant, random_pairs, repeated
from metseg.benchmark.plan import Measurement, onnx_path
from metseg.export.onnx import save_onnx
from metseg.export.quantise import quantise
from metseg.models import build_model
from metseg.models.fused import training_copy
from metseg.models.outputs import logits_model
from metseg.training.devices import shared_out
from metseg.training.losses import bce_dice


def prepare(measurement: Measurement, folder: Path) -> Contestant:
    """Builds metseg's or Keras's training, Keras's inference, a matrix product, or exports a network."""
    if measurement.task == "matmul":
        return _product(measurement)
    if measurement.task == "training":
        return _training(measurement)
    network, flop = _network(measurement, "float32")
    images = random_pairs(measurement)[0][: measurement.batch]
    if measurement.task == "inference":
        return Contestant(repeated(lambda: network.predict(images, verbose=0)), "float32", flop, cores())
    # As a finished training does, and in int8; the operations, which ONNX does not tell, lie beside it.
    whole, int8 = (onnx_path(folder, measurement.network, measurement.size, name) for name in ("", "int8"))
    write_json(whole.with_name("cost.json"), {"flop": flop})
    save_onnx(network, whole, image_size=measurement.size)
    quantise(whole, int8, images[:1])  # speed does not depend on the scales
    return Contestant(lambda seconds: [])


def convolution_flop(network: keras.Model, size: int) -> int:
    """Returns the operations of a network's convolutions on one image of side `size` px."""
    image = keras.Input((size, size, network.input_shape[-1]))
    total = 0
    for layer in keras.models.clone_model(network, input_tensors=image).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            where = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
            total += 2 * prod(where.shape[1:3]) * int(layer.kernel.shape.num_elements())
    return total


def _network(measurement: Measurement, precision: str) -> tuple[keras.Model, int]:
    """Keras's own layers; below float32 by its mixed policy, which keeps the weights in float32."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    network = build_model(measurement.network, filters=measurement.filters)
    return network, convolution_flop(network, measurement.size)


def _product(measurement: Measurement) -> Contestant:
    """A product of two square matrices, 2·n³ operations, in TensorFlow as the trainings are."""
    import tensorflow as tf

    shape, dtype = (measurement.size, measurement.size), measurement.precision
    a, b = (tf.cast(tf.random.stateless_normal(shape, (0, k)), dtype) for k in range(2))
    return Contestant(repeated(lambda: tf.linalg.matmul(a, b)), dtype, 2 * measurement.size**3, cores())


def _training(measurement: Measurement) -> Contestant:
    precision = measurement.precision or best_precision().removeprefix("mixed_")
    network, flop = _network(measurement, precision)
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

    return Contestant(run, precision, flop, cores())


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
