"""Blur and noise told from an image whose blur and noise are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from metseg.data.phantom.point_spread import noise_level, point_spread


def test_the_axis_that_was_blurred_is_found():
    rng = np.random.default_rng(0)
    tissue = gaussian_filter(rng.normal(500, 300, (48, 48, 48)), 1.0)
    inside = np.ones(tissue.shape, bool)
    assert point_spread(tissue, inside, np.ones(3)) == pytest.approx([0.5] * 3, abs=0.25)
    thick = point_spread(gaussian_filter(tissue, (2, 0, 0)), inside, np.ones(3))
    assert thick[0] == pytest.approx(2, abs=0.5) and thick[1:].max() < 0.8
    assert point_spread(tissue[::4], inside[::4], np.array([4, 1, 1]))[0] == 0.5


def test_noise_of_an_even_image():
    rng = np.random.default_rng(0)
    image = 500 + rng.normal(0, 10, (30, 30, 30))
    assert noise_level(image, np.ones(image.shape, bool)) == pytest.approx(10, rel=0.1)
