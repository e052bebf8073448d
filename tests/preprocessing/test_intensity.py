"""Limits of grey values, and stretching between them, by hand."""

import numpy as np
import pytest

from metseg.preprocessing.intensity import percentile_limits, stretch, tissue_limits


def test_limits_are_percentiles_of_what_is_not_black():
    image = np.zeros((20, 20, 3), np.uint8)
    image[:10, :, 0] = np.arange(1, 201).reshape(10, 20)  # 200 pixels: 1 % are 2 of them, 99.5 % are 199
    image[0, 0, 1] = 7
    assert percentile_limits(image).tolist() == [[2, 199], [7, 7], [0, 255]]


def test_limits_of_a_volume_are_those_of_all_its_pixels():
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 256, (4, 30, 30, 3), dtype=np.uint8)
    for channel, (low, high) in enumerate(percentile_limits(volume)):
        seen = volume[..., channel][volume[..., channel] > 0]
        expected = np.percentile(seen, [1, 99.5], method="inverted_cdf")
        assert [low, high] == expected.tolist()


@pytest.mark.parametrize("scalp", [150, 250])
def test_tissue_has_its_place_however_bright_the_scalp(scalp):
    image = np.zeros((20, 20, 3), np.uint8)
    image[:5, :, 1] = 4  # 100 pixels of air; the mean of all below is 63, or 74
    image[5:9, :, 1], image[9:11, :, 1] = 80, 100  # 80 and 40 of tissue
    image[11:12, :, 1] = scalp  # 20
    # of 140 pixels above the mean the 70th is 80
    assert tissue_limits(image).tolist() == [[0, 255], [0, 200], [0, 255]]
    stretched = stretch(image, tissue_limits(image))
    assert stretched[6, 0, 1] == 102  # 0.4 of 255


def test_stretch_keeps_the_size_and_clips_beyond_the_limits():
    image = np.uint8([[[10, 0], [20, 50], [30, 255]]])
    stretched = stretch(image, np.float32([[20, 30], [0, 255]]))
    assert stretched.dtype == np.uint8 and stretched.tolist() == [[[0, 0], [0, 50], [255, 255]]]
