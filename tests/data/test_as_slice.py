"""What people have becomes a slice, and each thing that was done to it is told."""

import numpy as np
import pytest

from metseg.data.image_errors import UnusablePixels
from metseg.data.images import as_slice

NAN, INF = np.nan, np.inf
ALIKE = "three channels are the same"


def test_an_image_stays_as_it_is(noise):
    image, notes = as_slice(noise(1), "a")
    assert (image == noise(1)).all()
    assert notes == []


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_one_channel_stands_for_all_three(shape):
    grey = np.array([0, 1, 2, 255], np.uint8)
    image, (note,) = as_slice(grey.reshape(shape), "a")
    assert image.dtype == np.uint8
    assert [image[..., k].ravel().tolist() for k in range(3)] == [grey.tolist()] * 3
    assert "one channel" in note and "FLAIR" in note


def test_channels_that_are_alike_are_noted(noise):
    image, (note,) = as_slice(np.repeat(noise(1)[..., :1], 3, axis=2), "a")
    assert image.shape == (24, 32, 3)
    assert ALIKE in note


@pytest.mark.parametrize("alpha", [255, 7])
def test_alpha_is_left_out(noise, alpha):
    image, (note,) = as_slice(np.dstack([noise(1), np.full((24, 32), alpha, np.uint8)]), "a")
    assert (image == noise(1)).all()
    assert "alpha" in note


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([100, 200, 300, 355], np.uint16, [0, 100, 200, 255]),
        ([-10, 0, 41, 41], np.int16, [0, 50, 255, 255]),
        ([-1, 0, 0.5, 1], np.float32, [0, 128, 191, 255]),
        ([0, 0.2, 0.4, 1], np.float16, [0, 51, 102, 255]),
        ([0, 1, 1, 0], bool, [0, 255, 255, 0]),
        ([0, 2**40, 2**41, 2**41], np.int64, [0, 128, 255, 255]),
        ([-1e308, 0, 1e308, 1e308], np.float64, [0, 128, 255, 255]),
        ([0, 5e-324, 5e-324, 0], np.float64, [0, 255, 255, 0]),
        ([7, 7, 7, 7], np.uint16, [0, 0, 0, 0]),
        ([0, 0, 0, 0], np.float32, [0, 0, 0, 0]),
    ],
)
def test_other_numbers_are_stretched_from_the_lowest_to_the_highest(values, dtype, expected):
    image, notes = as_slice(np.array(values, dtype).reshape(2, 2), "a")
    assert image[..., 1].ravel().tolist() == expected
    assert f"{np.dtype(dtype)} values" in notes[0] and "rescaled" in notes[0]


def test_channels_keep_their_proportion_to_each_other():
    pixels = np.array([[[0, 100, 510], [10, 20, 30]]], np.uint16)
    assert as_slice(pixels, "a")[0].tolist() == [[[0, 50, 255], [5, 10, 15]]]


def test_alpha_has_no_part_in_the_stretch():
    pixels = np.array([[[0, 100, 255, 65_535]]], np.uint16)
    assert as_slice(pixels, "a")[0].tolist() == [[[0, 100, 255]]]


def test_values_that_are_no_number_become_the_lowest_and_are_counted():
    image, notes = as_slice(np.float32([[NAN, INF, -INF], [10, 60, 265]]), "a")
    assert image[..., 0].tolist() == [[0, 0, 0], [0, 50, 255]]
    assert notes[0] == "Its float32 values, 10 to 265, were rescaled to 0 … 255."
    assert notes[1].startswith("3 values are no finite number")


def test_the_users_array_is_left_alone():
    pixels = np.float32([[NAN, 1.0]])
    as_slice(pixels, "a")
    assert np.array_equal(pixels, np.float32([[NAN, 1.0]]), equal_nan=True)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"a has shape \(4, 4, 2\); expected 1 channel, or 3"),
        (np.zeros((4, 4, 5), np.uint8), r"a has shape \(4, 4, 5\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"a has shape \(2, 4, 4, 3\)"),
        (np.zeros(4, np.uint8), r"a has shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), "a has no pixel"),
        (np.full((4, 4), NAN), "a holds no finite number"),
        (np.full((4, 4, 3), INF, np.float32), "a holds no finite number"),
    ],
)
def test_what_is_no_slice_is_refused(pixels, sentence):
    with pytest.raises(UnusablePixels, match=f"^{sentence}"):
        as_slice(pixels, "a")
