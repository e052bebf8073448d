"""The Dice of every threshold, on four pixels."""

import numpy as np
import pytest

from metseg.data.volume import Case, Labels, Volume
from metseg.evaluation.thresholds import threshold_curves


def case_of(values, mask) -> Case:
    """One slice whose channels hold `values` (C, 2, 2)."""
    image = np.moveaxis(np.array(values, np.uint8), 0, -1)[None]
    return Case(Volume.of_slices(image), Labels.of_mask(np.array([mask], bool)), "P_1", "P")


def test_four_pixels_by_hand():
    flat, rising, falling = [[9, 9], [9, 9]], [[0, 10], [200, 255]], [[255, 200], [10, 0]]
    curves = threshold_curves([case_of([flat, rising, falling], [[0, 0], [1, 1]])])
    assert list(curves) == ["pre-contrast", "FLAIR", "post-contrast"]
    assert all(curve.shape == (256,) for curve in curves.values())

    # lesion: the two lower pixels; predicted: those at or above t
    flair = curves["FLAIR"]
    assert flair[0] == pytest.approx(2 * 2 / (2 + 4))  # everything
    assert np.allclose(flair[1:11], 2 * 2 / (2 + 3))  # 10, 200, 255
    assert (flair[11:201] == 1).all()  # 200 and 255: exactly the lesion
    assert np.allclose(flair[201:], 2 * 1 / (2 + 1))  # 255 alone, which is ≥ 255

    # upside down: thresholds find the lesion's pixels last
    post = curves["post-contrast"]
    assert post[0] == pytest.approx(2 / 3)
    assert np.allclose(post[1:11], 2 * 1 / (2 + 3))
    assert (post[11:] == 0).all()

    # without contrast: everything up to 9, then nothing
    assert np.allclose(curves["pre-contrast"][:10], 2 / 3)
    assert (curves["pre-contrast"][10:] == 0).all()


def test_cases_are_pooled_not_averaged():
    one = case_of([[[100, 0], [0, 0]]] * 3, [[1, 0], [0, 0]])
    two = case_of([[[100, 100], [100, 0]]] * 3, [[0, 0], [0, 1]])
    flair = threshold_curves([one, two])["FLAIR"]
    assert flair[100] == pytest.approx(2 * 1 / (2 + 4))  # a mean of the two would be (1 + 0) / 2
    assert flair[101] == 0


def test_no_lesion_anywhere():
    curve = threshold_curves([case_of([[[5, 5], [5, 5]]] * 3, [[0, 0], [0, 0]])])["FLAIR"]
    assert (curve[:6] == 0).all()  # predictions, all of them wrong
    assert np.isnan(curve[6:]).all()  # neither lesion nor prediction
