"""Contrast and noise, relative to no CLAHE."""

import cv2
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.volume import Case, Labels, Volume
from metseg.evaluation.clahe_contrast import contrast_and_noise
from metseg.preprocessing.pipeline import Preprocessing

STORED = Preprocessing(image_size=64, clip_limit=0, tile_grid=4, intensity="stored")


def case_of(image: np.ndarray, mask: np.ndarray) -> Case:
    return Case(Volume.of_slices(image), Labels.of_mask(mask), "P_1", "P")


@pytest.fixture
def noisy() -> Case:
    """A slice of noisy tissue with a lesion a little brighter, below one with a smaller lesion."""
    rng = np.random.default_rng(0)
    image = rng.normal(80, 4, (2, 64, 64, 3))  # twice as bright is still below 256
    mask = np.zeros((2, 64, 64), bool)
    mask[0, 10:12, 10:12] = True
    mask[1, 24:40, 24:40] = True
    image[mask] += 20
    return case_of(image.clip(0, 255).round().astype(np.uint8), mask)


@pytest.mark.parametrize("intensity", ["slice", "volume", "stored"])
def test_no_clahe_gives_exactly_one(noisy, intensity):
    config = STORED.model_copy(update={"intensity": intensity, "clip_limit": 2.0})
    contrast, noise = contrast_and_noise([noisy, noisy], config, [0.0, 0.0])
    assert contrast.tolist() == [1.0, 1.0]
    assert noise.tolist() == [1.0, 1.0]


def test_clahe_lifts_both_and_more_of_it_lifts_noise_more(noisy):
    contrast, noise = contrast_and_noise([noisy], STORED, [1.5, 4.0])
    assert contrast.shape == noise.shape == (2,)
    assert 1 < noise[0] < noise[1]
    assert contrast[0] > 1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_gain_by_hand(monkeypatch, noisy, channel):
    """CLAHE replaced by a stretch that doubles channel 1 alone: both ratios double there and only there."""
    factors = np.array([1, 2, 1], np.uint8)
    monkeypatch.setattr(
        "metseg.preprocessing.pipeline.clahe",
        lambda image, *, clip_limit, tile_grid: image * factors ** bool(clip_limit),
    )
    contrast, noise = contrast_and_noise([noisy], STORED, [0.0, 3.0], channel=channel)
    expected = [1, factors[channel]]
    np.testing.assert_allclose(contrast, expected, rtol=1e-4)
    np.testing.assert_allclose(noise, expected, rtol=1e-4)


def test_the_fullest_slice_is_measured(noisy):
    only = case_of(noisy.image[1:], noisy.mask[1:])
    np.testing.assert_array_equal(
        contrast_and_noise([noisy], STORED, [2.0]), contrast_and_noise([only], STORED, [2.0])
    )


def test_median_over_cases(noisy):
    """Two like cases outvote a third, whose lesion does not stand out at all."""
    hidden = cv2.GaussianBlur(noisy.image[1], (0, 0), 8)[None]
    three = [noisy, case_of(hidden, noisy.mask[1:]), noisy]
    np.testing.assert_array_equal(
        contrast_and_noise(three, STORED, [2.0]), contrast_and_noise([noisy], STORED, [2.0])
    )


def test_cases_without_a_lesion_at_this_size_are_left_out(noisy):
    dot = np.zeros((1, 256, 256), bool)
    dot[0, 100, 100] = True  # a sixteenth of a pixel at 64
    gone = case_of(np.full((1, 256, 256, 3), 90, np.uint8), dot)
    healthy = case_of(noisy.image, np.zeros_like(noisy.mask))
    np.testing.assert_array_equal(
        contrast_and_noise([gone, noisy, healthy], STORED, [2.0]), contrast_and_noise([noisy], STORED, [2.0])
    )
    with pytest.raises(MetsegError, match="no case shows a lesion"):
        contrast_and_noise([gone, healthy], STORED, [2.0])
