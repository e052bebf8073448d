"""Contrast in standard deviations, worked out by hand."""

import numpy as np
import pytest

from metseg.evaluation.lesion_contrast import standardised_contrast

SIZE = 64


def scan() -> tuple[np.ndarray, np.ndarray]:
    """Two slices with a head of greys 90 and 110 in turns, mean 100 and variance 100; a lesion in the first.

    The lesion has 10 more, and none more, and 20 less in the three channels.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    image[:, 8:56, 8:56] = np.where((y + x) % 2, 90, 110)[8:56, 8:56, None]
    mask = np.zeros((2, SIZE, SIZE), bool)
    mask[0, 28:36, 28:36] = True
    image[mask] += np.array([10, 0, 236], np.uint8)  # 236 more is 20 less
    return image, mask


def test_by_hand():
    assert standardised_contrast(*scan()) == pytest.approx([1, 0, -2], abs=0.02)


def test_only_a_ring_of_the_head_counts():
    image, mask = scan()
    image[1] = 255  # another slice
    image[0, 14:18, 20:44] = 200  # more than 9 px away
    image[0, 26:28, 28:36] = 200  # beside the lesion, where its edge was drawn
    assert standardised_contrast(image, mask) == pytest.approx([1, 0, -2], abs=0.02)
    image, mask = scan()
    image[:, :, 38:] = 0  # 3 px beside it the head ends: what lies beyond is no tissue
    assert standardised_contrast(image, mask) == pytest.approx([1, 0, -2], abs=0.05)


def test_what_has_no_contrast():
    image, mask = scan()
    assert np.isnan(standardised_contrast(image, np.zeros_like(mask))).all()
    assert np.isnan(standardised_contrast(image, np.ones_like(mask))).all()
    image[:] = 100
    assert np.isnan(standardised_contrast(image, mask)).all()
