"""Contestants on Keras and TensorFlow: metseg's training, Keras by itself, and the export to ONNX."""

import time
from dataclasses import asdict
from pathlib import Path

from metseg.base.backend import keras
from metseg.base.files import write_json
from metseg.base.hardware import best_precision, cores
from metseg.benchmark.contestant import COST, Contestant, random_pairs, repeated
from metseg.benchmark.flops import Cost, convolution_cost
from metseg.benchmark.plan import Measurement, onnx_path
from metseg.benchmark.with_data import epoch_batches
from metseg.export.onnx import save_onnx
from metseg.export.quantise import quantise
from metseg.models import build_model
from metseg.models.fused import training_copy
from metseg.models.inspect import gate_names
from metseg.models.outputs import logits_model
from metseg.training.devices import shared_out
from metseg.training.losses import bce_dice

_FILLING = 10  # steps until batches come as fast as they are taken


def prepare(measurement: Measurement) -> Contestant:
    """Builds a contestant of the library metseg (training), keras or tensorflow."""
    if measurement.task == "export":
        return _export(measurement)
    return _training(measurement) if measurement.task == "training" else _inference(measurement)


def convolutions(network: keras.Model, size: int) -> Cost:
    """Returns the cost of a network's convolutions on one image of side `size` px."""
    image = keras.Input((size, size, network.input_shape[-1]))
    total = Cost()
    for layer in keras.models.clone_model(network, input_tensors=image).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            (*inside, c_in), (*outside, c_out) = layer.input.shape[1:], layer.output.shape[1:]
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            height, width = inside if transposed else outside
            total += convolution_cost(
                positions=height * width,
                inputs=inside[0] * inside[1] * c_in,
                outputs=outside[0] * outside[1] * c_out,
                weights=int(layer.kernel.shape.num_elements()),
            )
    return total


def compiled_network(measurement: Measurement) -> tuple[keras.Model, str, Cost, int]:
    """Returns a network ready to `fit`, its precision, its cost and its threads."""
    precision = measurement.precision or best_precision().removeprefix("mixed_")
    network = _network(measurement, precision)
    cost = convolutions(network, measurement.size)
    if measurement.library == "metseg":  # as `metseg.training.fit` does
        network, loss = training_copy(network), shared_out(bce_dice)
    else:
        network, loss = logits_model(network), bce_dice
    network.compile(keras.optimizers.Adam(1e-3), loss)
    return network, precision, cost, cores()


def _training(measurement: Measurement) -> Contestant:
    """Trains on pairs in memory, or on those that it reads and augments as a training does."""
    network, *told = compiled_network(measurement)
    if measurement.path:
        source = {"x": epoch_batches(Path(measurement.path), measurement.batch, side=measurement.size)}
    else:
        images, masks = random_pairs(measurement)
        source = {"x": images, "y": masks, "batch_size": measurement.batch}

    def run(seconds: float) -> list[float]:
        clock = _StepClock(seconds, skip=_FILLING if measurement.path else 0)
        network.fit(**source, epochs=1_000_000, shuffle=False, verbose=0, callbacks=[clock])
        return clock.times

    return Contestant(run, *told)


def _network(measurement: Measurement, precision: str) -> keras.Model:
    """Keras's own layers; below float32 by its mixed policy, which keeps the weights in float32."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    return build_model(measurement.network, filters=measurement.filters)


class _StepClock(keras.callbacks.Callback):
    """Times each training step, fetching its batch included, and ends the training after some seconds.

    The first `skip` steps are left out: meanwhile batches are prepared for later ones too.
    """

    def __init__(self, seconds: float, *, skip: int = 0):
        super().__init__()
        self.times: list[float] = []
        self._seconds, self._skip, self._end = seconds, skip, None

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()
        if self._end is None and self._skip == 0:
            self._end = self._began + self._seconds

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self._end is None:
            self._skip -= 1
            return
        self.times.append(now - self._began)
        self.model.stop_training = now >= self._end


def _inference(measurement: Measurement) -> Contestant:
    precision = measurement.precision or "float32"
    network = _network(measurement, precision)
    cost = convolutions(network, measurement.size)
    images = random_pairs(measurement)[0][: measurement.batch]
    if measurement.library == "keras":
        return Contestant(repeated(lambda: network.predict(images, verbose=0)), precision, cost, cores())
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(images.shape, tf.float32)])
    def forward(batch):
        return tf.cast(network(batch, training=False), tf.float32)

    return Contestant(repeated(lambda: forward(tf.constant(images)).numpy()), precision, cost, cores())


def _export(measurement: Measurement) -> Contestant:
    """Writes the network as ONNX as a finished training does, attention gates included; takes no step."""
    path = Path(measurement.path)
    whole = onnx_path(path.parents[2], measurement.network, measurement.size)
    if not whole.exists():
        keras.utils.set_random_seed(0)
        network = build_model(measurement.network, filters=measurement.filters)
        gates = [network.get_layer(name).output for name in gate_names(network)]
        model = keras.Model(network.input, [network.output, *gates]) if gates else network
        write_json(whole.with_name(COST), asdict(convolutions(network, measurement.size)))
        save_onnx(model, whole, image_size=measurement.size)
    if path != whole:
        quantise(whole, path, random_pairs(measurement)[0][:1])  # speed does not depend on the scales
    return Contestant(lambda seconds: [])
