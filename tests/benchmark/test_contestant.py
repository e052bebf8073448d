"""Operations of convolutions counted by hand, and what every contestant is given."""

import keras
import numpy as np
import pytest

from metseg.benchmark.contestant import Cost, random_pairs, repeated
from metseg.benchmark.plan import Measurement
from metseg.benchmark.with_keras import convolutions

# 3×3, 3 → 2 channels, on 8×8 px: 64 places, 54 weights.
FIRST = Cost(flop=2 * 64 * 54, elements=64 * 3 + 64 * 2, weights=54)
# 2×2, stride 2, transposed, 2 → 4 channels, from the pooled 4×4 px to 8×8: 16 places, 32 weights.
SECOND = Cost(flop=2 * 16 * 32, elements=16 * 2 + 64 * 4, weights=32)


@pytest.mark.parametrize("size", [8, 16])
def test_convolutions_of_a_keras_network(size):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, padding="same")(image)
    x = keras.layers.MaxPooling2D()(keras.layers.BatchNormalization()(x))
    network = keras.Model(image, keras.layers.Conv2DTranspose(4, 2, strides=2, use_bias=False)(x))
    area = (size // 8) ** 2
    assert convolutions(network, size) == Cost(area * (6912 + 1024), area * (320 + 288), 86)
    assert Cost(6912 + 1024, 320 + 288, 86) == FIRST + SECOND


def test_intensity_by_hand():
    # 2 images: 2·6912 operations; 2·320 numbers and 54 weights of 4 bytes
    assert FIRST.intensity(batch=2, precision="float32") == pytest.approx(2 * 6912 / (4 * (640 + 54)))
    assert FIRST.intensity(batch=2, precision="bfloat16") == pytest.approx(2 * 6912 / (2 * (640 + 54)))


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
