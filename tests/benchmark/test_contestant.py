"""Operations of convolutions counted by hand, and what every contestant is given."""

import keras
import numpy as np
import pytest

from metseg.benchmark import with_keras, with_onnx
from metseg.benchmark.contestant import random_pairs, repeated
from metseg.benchmark.plan import Measurement
from metseg.benchmark.with_keras import convolution_flop


@pytest.fixture
def _policy():
    """Each contestant has a process of its own, and leaves its precision behind."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("_policy")
def test_every_contestant_takes_a_step(tmp_path):
    def measured(library: str, task: str, precision: str = "", batch: int = 2) -> Measurement:
        return Measurement(library, task, "nested_unet", 16, batch, precision=precision, filters=(2, 4))

    with_keras.prepare(measured("keras", "export"), tmp_path)
    contestants = [
        with_keras.prepare(measured("metseg", "training"), tmp_path),
        with_keras.prepare(measured("keras", "inference"), tmp_path),
        with_onnx.prepare(measured("onnxruntime", "inference"), tmp_path),
        with_onnx.prepare(measured("metseg", "inference", "int8"), tmp_path),
        with_onnx.prepare(measured("metseg", "inference", "float32", batch=1), tmp_path),
    ]
    assert len({each.flop for each in contestants}) == 1
    product = with_keras.prepare(measured("machine", "matmul", "bfloat16"), tmp_path)
    assert (product.flop, product.precision) == (2 * 16**3, "bfloat16")
    for each in (*contestants, product):
        (seconds,) = each.run(0.0)
        assert seconds > 0 and each.flop > 0 and each.threads > 0


@pytest.mark.parametrize("size", [8, 16])
def test_convolutions_of_a_keras_network(size):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, padding="same")(image)
    x = keras.layers.MaxPooling2D()(keras.layers.BatchNormalization()(x))
    network = keras.Model(image, keras.layers.Conv2DTranspose(4, 2, strides=2, use_bias=False)(x))
    # On 8×8 px: 3×3, 3 → 2 channels at 64 places; 2×2, transposed, 2 → 4 channels from 16 places.
    assert convolution_flop(network, size) == (size // 8) ** 2 * (2 * 64 * 54 + 2 * 16 * 32)


def test_a_step_that_has_begun_is_finished():
    calls = []
    assert len(repeated(lambda: calls.append(1))(0.0)) == len(calls) == 1


@pytest.mark.parametrize("batch", [1, 8])
def test_everyone_sees_the_same_images(batch):
    measurement = Measurement("metseg", "training", size=16, batch=batch)
    images, masks = random_pairs(measurement)
    assert images.shape == (4 * batch, 16, 16, 3) and masks.shape == (4 * batch, 16, 16, 1)
    assert images.dtype == masks.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and set(np.unique(masks)) <= {0, 1}
    np.testing.assert_array_equal(random_pairs(measurement)[0], images)
