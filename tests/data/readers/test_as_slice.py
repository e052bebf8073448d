"""What people have becomes a slice, and each thing that was done to it is told."""

import numpy as np
import pytest

from metseg.data.readers import images
from metseg.data.readers.image_errors import UnusablePixels
from metseg.data.readers.images import to_8_bits
from metseg.data.volume import Volume

NAN, INF = np.nan, np.inf


def as_slice(pixels: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """As of a file that holds these pixels; the slice as (H, W, 3)."""
    pixels = np.atleast_3d(pixels)
    volume, notes = images.as_slice(Volume.of_slice(pixels, "abcd"[: pixels.shape[2]]), name)
    return volume.channels_last[0], notes


def test_an_image_stays_as_it_is(noise):
    image, notes = as_slice(noise(1), "a")
    assert (image == noise(1)).all()
    assert notes == []


def test_pixels_that_are_not_square_are_told(noise):
    for spacing_mm, told in (((1, 1, 1), 0), ((5, 0.25, 0.5), 1), (None, 0)):
        _, notes = images.as_slice(Volume.of_slice(noise(1), spacing_mm=spacing_mm), "a")
        assert len([note for note in notes if "mm" in note]) == told


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_one_channel_stands_for_all_three(shape):
    grey = np.array([0, 1, 2, 255], np.uint8)
    image, (note,) = as_slice(grey.reshape(shape), "a")
    assert image.dtype == np.uint8
    assert [image[..., k].ravel().tolist() for k in range(3)] == [grey.tolist()] * 3
    assert "grey" in note and "FLAIR" in note


def test_grey_stored_as_three_equal_channels_is_told_as_well(noise):
    grey = np.repeat(noise(1)[..., :1], 3, axis=2)
    image, (note,) = as_slice(grey, "a")
    assert (image == grey).all()
    assert "grey" in note and "FLAIR" in note


def test_grey_of_a_lossy_file_is_told_and_left_as_it_is(noise):
    grey = np.repeat(noise(1)[..., :1] // 2, 3, axis=2)
    grey[::2, :, 1] += 3
    image, (note,) = as_slice(grey, "a")
    assert (image == grey).all() and "grey" in note
    grey[0, 0] = 100, 104, 100
    assert as_slice(grey, "a")[1] == []


def test_a_slice_with_hardly_anything_in_it_is_not_taken_for_grey():
    assert as_slice(np.array([[[0, 1, 2], [3, 2, 2]]], np.uint8), "a")[1] == []


def test_grey_values_of_0_and_1_are_noted(noise):
    image, (note,) = as_slice(noise(1) // 128, "a")
    assert image.max() == 1 and "0 and 1 only" in note
    assert as_slice(noise(1) // 128 + 1, "a")[1] == []


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
        ([7, 7, 7, 7], np.uint16, [0, 0, 0, 0]),
        ([0, 0, 0, 0], np.float32, [0, 0, 0, 0]),
    ],
)
def test_other_numbers_are_stretched_to_eight_bits(values, dtype, expected):
    image, notes = as_slice(np.array(values, dtype).reshape(2, 2), "a")
    assert image[..., 1].ravel().tolist() == expected
    assert f"{np.dtype(dtype)} values" in notes[0] and "rescaled" in notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("count", [1, 999, 1001, 4000])
def test_the_stretch_is_up_to_the_percentile_whatever_the_type(dtype, count):
    values = np.random.default_rng(count).integers(3, 250, (count, 2)) // 9 * 9
    if np.dtype(dtype).itemsize > 1:
        values = values * 100 + (-30_000 if np.dtype(dtype).kind == "i" else 0)
    high = np.percentile(values - values.min(), 99.9, method="higher")
    expected = np.rint(255 * np.minimum((values - values.min()) / (high or 1), 1))
    np.testing.assert_array_equal(to_8_bits(values.astype(dtype))[0], expected)


def test_each_channel_is_stretched_by_itself():
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image, (note, _) = as_slice(np.dstack([ramp, 7 + 2 * ramp, 200 * ramp]), "a")
    assert (image == ramp[..., None]).all()  # none is darker for another that is bright
    assert "each channel by itself" in note


def test_a_hot_pixel_does_not_darken_the_rest():
    grey = np.arange(2000, dtype=np.uint16).reshape(40, 50) % 256
    expected = as_slice(grey, "a")[0]
    grey[0, 0] = 65_535
    image, _ = as_slice(grey, "a")
    assert image[0, 0].tolist() == [255] * 3
    assert (image[0, 1:] == expected[0, 1:]).all() and (image[1:] == expected[1:]).all()


def test_a_channel_that_is_nearly_all_background_goes_up_to_its_highest_value():
    grey = np.zeros((100, 100), np.uint16)
    grey[3, 3:5] = 150, 300
    assert as_slice(grey, "a")[0][3, 2:6, 0].tolist() == [0, 128, 255, 0]


def test_a_channel_without_a_finite_number_is_black():
    pixels = np.dstack([np.full((2, 2), NAN), [[0, 1], [2, 2]], [[5, 5], [5, 5]]])
    image, notes = as_slice(pixels, "a")
    assert image[1, 1].tolist() == [0, 255, 0]
    assert notes[1].startswith("4 values")


def test_alpha_has_no_part_in_the_stretch():
    pixels = np.array([[[0, 0, 0, 9], [255, 510, 5, 65_535]]], np.uint16)
    assert as_slice(pixels, "a")[0].tolist() == [[[0] * 3, [255] * 3]]


def test_values_that_are_no_number_become_the_lowest_and_are_counted():
    image, notes = as_slice(np.float32([[NAN, INF, -INF], [10, 60, 265]]), "a")
    assert image[..., 0].tolist() == [[0, 0, 0], [0, 50, 255]]
    assert notes[1].startswith("3 values are no finite number")


def test_the_users_array_is_left_alone():
    pixels = np.float32([[NAN, 1.0]])
    as_slice(pixels, "a")
    assert np.array_equal(pixels, np.float32([[NAN, 1.0]]), equal_nan=True)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((4, 4, 2), np.uint8), "a has 2 channels; expected 1 channel, or 3"),
        (np.full((4, 4), NAN), "a holds no finite number"),
        (np.full((4, 4, 3), INF, np.float32), "a holds no finite number"),
    ],
)
def test_what_is_no_slice_is_refused(pixels, sentence):
    with pytest.raises(UnusablePixels, match=f"^{sentence}"):
        as_slice(pixels, "a")
