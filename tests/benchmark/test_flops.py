"""Operations of convolutions, counted by hand."""

import keras
import pytest

from metseg.benchmark.flops import Cost, convolution_cost
from metseg.benchmark.with_keras import convolutions

# 3×3, 3 → 2 channels, on 8×8 px: 64 places, 54 weights.
FIRST = Cost(flop=2 * 64 * 54, elements=64 * 3 + 64 * 2, weights=54)
# 2×2, stride 2, transposed, 2 → 4 channels, from the pooled 4×4 px to 8×8: 16 places, 32 weights.
SECOND = Cost(flop=2 * 16 * 32, elements=16 * 2 + 64 * 4, weights=32)


def test_one_convolution_by_hand():
    assert convolution_cost(positions=64, inputs=192, outputs=128, weights=54) == FIRST
    assert Cost(6912 + 1024, 320 + 288, 86) == FIRST + SECOND


@pytest.mark.parametrize("size", [8, 16])
def test_convolutions_of_a_keras_network(size):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, padding="same")(image)
    x = keras.layers.MaxPooling2D()(keras.layers.BatchNormalization()(x))
    network = keras.Model(image, keras.layers.Conv2DTranspose(4, 2, strides=2, use_bias=False)(x))
    counted = convolutions(network, size)
    area = (size // 8) ** 2
    assert counted.flop == area * (FIRST.flop + SECOND.flop)
    assert counted.elements == area * (FIRST.elements + SECOND.elements)
    assert counted.weights == 86


def test_intensity_by_hand():
    # 2 images: 2·6912 operations; 2·320 numbers and 54 weights of 4 bytes
    assert FIRST.intensity(batch=2, precision="float32") == pytest.approx(2 * 6912 / (4 * (640 + 54)))
    halved = FIRST.intensity(batch=2, precision="bfloat16")
    assert halved == pytest.approx(2 * FIRST.intensity(batch=2, precision="float32"))
