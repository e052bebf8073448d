"""Raw pixels to network input and back, by hand where an image is small enough."""

import numpy as np
import pytest
from pydantic import ValidationError

from metseg.preprocess import (
    Preprocessing,
    clahe,
    intensity_limits,
    preprocess,
    preprocess_mask,
    restore,
    stretch,
    volume_limits,
)

INTENSITIES = ["slice", "volume", "stored"]
ODD_SHAPES = [(1, 1), (1, 40), (40, 1), (2, 3), (17, 301), (301, 17), (16, 16), (15, 16), (33, 32), (2000, 3)]


def plain(size: int = 16, **changes) -> Preprocessing:
    """Without CLAHE, and grey values as stored."""
    return Preprocessing(image_size=size, **{"clip_limit": 0, "intensity": "stored", **changes})


# Intensity limits


def test_only_a_volume_shares_its_limits():
    volume = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(volume_limits(volume, plain(intensity="volume")), intensity_limits(volume))
    assert volume_limits(volume, plain(intensity="slice")) is None
    assert volume_limits(volume, plain(intensity="stored")) is None


def test_limits_are_percentiles_of_what_is_not_black():
    image = np.zeros((20, 20, 3), np.uint8)
    image[:10, :, 0] = np.arange(1, 201).reshape(10, 20)  # 200 pixels: 1 % are 2 of them, 99.5 % are 199
    image[0, 0, 1] = 7
    assert intensity_limits(image).tolist() == [[2, 199], [7, 7], [0, 255]]


def test_limits_of_a_volume_are_those_of_all_its_pixels():
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 256, (4, 30, 30, 3), dtype=np.uint8)
    for channel, (low, high) in enumerate(intensity_limits(volume)):
        seen = volume[..., channel][volume[..., channel] > 0]
        expected = np.percentile(seen, [1, 99.5], method="inverted_cdf")
        assert [low, high] == expected.tolist()


@pytest.mark.parametrize(("intensity", "limits"), [("volume", None), ("slice", np.zeros((3, 2)))])
def test_limits_are_wanted_for_a_volume_and_for_nothing_else(intensity, limits):
    with pytest.raises(ValueError, match="does not go with intensity"):
        preprocess(np.zeros((16, 16, 3), np.uint8), plain(intensity=intensity), limits=limits)


# Grey values


def test_grey_values_are_stretched_between_the_limits():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8], image[8:] = 50, 150
    image[0, 0] = 90
    image[15, 15] = 0
    prepared = preprocess(image, plain(intensity="slice"))
    assert prepared[4, 4].tolist() == [0, 0, 0]
    assert prepared[12, 4].tolist() == [1, 1, 1]
    assert (np.rint(prepared[0, 0] * 255) == 102).all()  # (90 - 50) * 255 / 100
    assert prepared[15, 15].tolist() == [0, 0, 0]  # below the lowest limit


def test_stretch_keeps_the_size_and_clips_beyond_the_limits():
    image = np.uint8([[[10, 0], [20, 50], [30, 255]]])
    stretched = stretch(image, np.float32([[20, 30], [0, 255]]))
    assert stretched.dtype == np.uint8 and stretched.tolist() == [[[0, 0], [0, 50], [255, 255]]]


def test_limits_of_the_volume_are_used_channel_by_channel():
    image = np.full((16, 16, 3), 100, np.uint8)
    limits = np.float32([[0, 255], [50, 150], [0, 100]])
    prepared = preprocess(image, plain(intensity="volume"), limits=limits)
    assert (np.rint(prepared[3, 3] * 255) == [100, 128, 255]).all()  # 50 * 2.55 = 127.5, to even


def test_stored_grey_values_of_the_right_size_are_unchanged():
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (preprocess(image, plain()) == image.astype(np.float32) / 255).all()


def test_a_black_image_stays_black_and_finite():
    for intensity in INTENSITIES:
        config = Preprocessing(image_size=32, intensity=intensity, clip_limit=0)
        image = np.zeros((40, 20, 3), np.uint8)
        prepared = preprocess(image, config, limits=volume_limits(image, config))
        assert (prepared == 0).all()


@pytest.mark.parametrize("intensity", INTENSITIES)
@pytest.mark.parametrize("clip_limit", [0, 2])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_any_size_gives_a_square_in_steps_of_1_255_and_comes_back(shape, clip_limit, intensity):
    config = Preprocessing(image_size=32, clip_limit=clip_limit, intensity=intensity)
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    prepared = preprocess(image, config, limits=volume_limits(image, config))
    assert prepared.shape == (32, 32, 3) and prepared.dtype == np.float32
    assert prepared.min() >= 0 and prepared.max() <= 1
    steps = np.rint(prepared * 255)
    assert (steps.astype(np.float32) / 255 == prepared).all()
    prob_map = restore(prepared[..., 0], shape)
    assert prob_map.shape == shape and prob_map.dtype == np.float32
    assert np.isfinite(prob_map).all() and prob_map.min() >= 0 and prob_map.max() <= 1
    mask = preprocess_mask(np.ones(shape, bool), config)
    assert mask.shape == (32, 32) and mask.dtype == bool and mask.any()
    assert (restore(mask.astype(np.float32), shape) == 1).all()


def test_the_image_given_is_not_changed():
    image = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    before = image.copy()
    preprocess(image, Preprocessing(image_size=16))
    assert (image == before).all()


# CLAHE


def test_clip_limit_zero_is_the_identity():
    image = np.random.default_rng(4).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert (clahe(image, clip_limit=0, tile_grid=8) == image).all()


def test_clahe_widens_contrast_of_each_channel_on_its_own():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = np.arange(100, 132)  # a faint ramp
    image[..., 1] = np.random.default_rng(5).integers(0, 256, (32, 32))
    equalised = clahe(image, clip_limit=40, tile_grid=1)
    assert np.ptp(equalised[..., 0]) > 3 * np.ptp(image[..., 0])
    alone = clahe(image[..., :1], clip_limit=40, tile_grid=1)
    assert (equalised[..., 0] == alone[..., 0]).all()
    assert equalised.shape == image.shape and equalised.dtype == np.uint8


def test_more_tiles_than_pixels_are_no_error():
    image = np.random.default_rng(6).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    prepared = preprocess(image, Preprocessing(image_size=16, tile_grid=32))
    assert prepared.min() >= 0 and prepared.max() <= 1


# Geometry


def test_a_slice_that_is_not_square_is_centred_on_black():
    prepared = preprocess(np.full((10, 20, 3), 255, np.uint8), plain(20))
    assert (prepared[5:15] == 1).all()
    assert (prepared[:5] == 0).all() and (prepared[15:] == 0).all()


def test_shrinking_averages_areas():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::4] = 200  # one line of four: whoever looks at the nearest one or two lines sees none of it
    assert (preprocess(image, plain(16)) == np.float32(50) / 255).all()


@pytest.mark.parametrize(("pixels", "lesion"), [(0, False), (1, False), (2, True), (3, True), (4, True)])
def test_a_mask_pixel_is_lesion_from_half_its_area(pixels, lesion):
    mask = np.zeros((32, 32), bool)
    corner = np.zeros(4, bool)
    corner[:pixels] = True
    mask[:2, :2] = corner.reshape(2, 2)
    small = preprocess_mask(mask, plain(16))
    assert small[0, 0] == lesion
    assert small.sum() == lesion


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("shape", [(60, 60), (40, 60), (61, 37), (100, 31)])
def test_a_square_comes_back_where_it_was(shape, size):
    mask = np.zeros(shape, bool)
    mask[12:30, 8:26] = True
    back = restore(preprocess_mask(mask, plain(size)).astype(np.float32), shape) >= 0.5
    assert back.shape == shape
    tolerance = max(1, max(shape) / size)  # px of the slice: one of its own or one of the network's
    for axis, (first, last) in enumerate(((12, 29), (8, 25))):
        found = np.flatnonzero(back.any(axis=1 - axis))
        assert abs(found[0] - first) <= tolerance and abs(found[-1] - last) <= tolerance
        assert abs(found.mean() - (first + last) / 2) <= max(0.5, tolerance / 2)  # no drift to one side


@pytest.mark.parametrize("size", [48, 128])
def test_image_and_mask_lie_on_each_other(size):
    mask = np.zeros((70, 50), bool)
    mask[20:45, 10:30] = True
    image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    prepared = preprocess(image, plain(size))[..., 0] >= 0.5
    assert (prepared == preprocess_mask(mask, plain(size))).all()


def test_a_map_of_the_slice_own_size_comes_back_unchanged():
    prob_map = np.random.default_rng(7).random((24, 24), dtype=np.float32)
    assert (restore(prob_map, (24, 24)) == prob_map).all()


# Parameters


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 8},
        {"image_size": 2048},
        {"clip_limit": -1},
        {"clip_limit": float("nan")},
        {"tile_grid": 0},
        {"intensity": "window"},
        {"size": 128},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)
