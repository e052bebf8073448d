"""Raw pixels to network input and back, by hand where an image is small enough."""

import numpy as np
import pytest
from pydantic import ValidationError

from metseg.data.volume import Volume
from metseg.preprocessing.intensity import percentile_limits, tissue_limits
from metseg.preprocessing.pipeline import (
    Preprocessing,
    View,
    clahe,
    clip_count,
    network_affine,
    network_input,
    preprocess,
    preprocess_mask,
    restore,
    view_of,
)

INTENSITIES = ["slice", "volume", "tissue", "stored"]
ODD_SHAPES = [(1, 1), (1, 40), (40, 1), (2, 3), (17, 301), (301, 17), (16, 16), (15, 16), (33, 32), (2000, 3)]


def plain(size: int = 16, **changes) -> Preprocessing:
    """Without CLAHE, and grey values as stored."""
    return Preprocessing(image_size=size, **{"clip_limit": 0, "intensity": "stored", **changes})


# What the slices of a volume share


def test_only_a_volume_shares_its_limits():
    volume = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for intensity, limits in (("volume", percentile_limits), ("tissue", tissue_limits)):
        view = view_of(Volume.of_slices(volume), plain(intensity=intensity))
        np.testing.assert_array_equal(view.limits, limits(volume))
        assert view.box is None
    for intensity in ("slice", "stored"):
        assert view_of(Volume.of_slices(volume), plain(intensity=intensity)) == View()


@pytest.mark.parametrize(
    ("config", "view"),
    [
        (plain(intensity="volume"), View()),
        (plain(intensity="slice"), View(limits=np.zeros((3, 2)))),
        (plain(crop=True), View()),
        (plain(), View(box=(slice(0, 8), slice(0, 8)))),
    ],
)
def test_a_view_of_other_parameters_is_refused(config, view):
    with pytest.raises(ValueError, match="does not go with intensity"):
        preprocess(np.zeros((16, 16, 3), np.uint8), config, view)


def test_pixels_that_are_not_square_keep_the_heads_proportions():
    # 16 × 32 pixels of 2 × 1 mm are 32 × 32 mm; of unknown size they are taken as square.
    bright = np.full((1, 16, 32, 3), 255, np.uint8)
    tall = Volume.of_slices(bright, spacing_mm=(3, 2, 1))
    assert network_input(tall, plain()).min() == 1
    assert network_input(Volume.of_slices(bright), plain())[0, :, 0, 0].sum() == 8
    mask = np.zeros((16, 32), bool)
    mask[4:6, 10:14] = True
    view = view_of(tall, plain())
    small = preprocess_mask(mask, plain(), view)
    assert small.sum() == 4  # 2 × 2 of 2 × 2 mm
    np.testing.assert_array_equal(restore(small.astype(np.float32), mask.shape, view) >= 0.5, mask)


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


def test_limits_of_the_volume_are_used_channel_by_channel():
    image = np.full((16, 16, 3), 100, np.uint8)
    limits = np.float32([[0, 255], [50, 150], [0, 100]])
    prepared = preprocess(image, plain(intensity="volume"), View(limits))
    assert (np.rint(prepared[3, 3] * 255) == [100, 128, 255]).all()  # 50 * 2.55 = 127.5, to even


def test_stored_grey_values_of_the_right_size_are_unchanged():
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (preprocess(image, plain()) == image.astype(np.float32) / 255).all()


def test_a_black_image_stays_black_and_finite():
    for intensity in INTENSITIES:
        config = Preprocessing(image_size=32, intensity=intensity, clip_limit=0)
        image = np.zeros((40, 20, 3), np.uint8)
        prepared = preprocess(image, config, view_of(Volume.of_slice(image), config))
        assert (prepared == 0).all()


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("intensity", INTENSITIES)
@pytest.mark.parametrize("clip_limit", [0, 2])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_any_size_gives_a_square_in_steps_of_1_255_and_comes_back(shape, clip_limit, intensity, crop):
    config = Preprocessing(image_size=32, clip_limit=clip_limit, intensity=intensity, crop=crop)
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    view = view_of(Volume.of_slice(image), config)
    prepared = preprocess(image, config, view)
    assert prepared.shape == (32, 32, 3) and prepared.dtype == np.float32
    assert prepared.min() >= 0 and prepared.max() <= 1
    steps = np.rint(prepared * 255)
    assert (steps.astype(np.float32) / 255 == prepared).all()
    prob_map = restore(prepared[..., 0], shape, view)
    assert prob_map.shape == shape and prob_map.dtype == np.float32
    assert np.isfinite(prob_map).all() and prob_map.min() >= 0 and prob_map.max() <= 1
    mask = preprocess_mask(np.ones(shape, bool), config, view)
    assert mask.shape == (32, 32) and mask.dtype == bool and mask.any()
    back = restore(mask.astype(np.float32), shape, view)
    assert (back[view.box or ...] == 1).all() and back.sum() == back[view.box or ...].sum()


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


@pytest.mark.parametrize(
    ("size", "limit", "count"), [(96, 1, 1), (96, 2, 1), (96, 4, 2), (128, 2, 2), (100, 4, 2), (96, 0, 0)]
)
def test_the_count_that_clahe_clips_at(size, limit, count):
    # 96 px in 8 tiles: 144 px each, 144/256 of the limit; 100 px are padded to tiles of 13
    assert clip_count(Preprocessing(image_size=size, clip_limit=limit)) == count


def test_limits_of_one_count_are_one_and_the_same():
    image = np.random.default_rng(7).integers(0, 60, (96, 96, 3), dtype=np.uint8)
    one, two, four = (clahe(image, clip_limit=limit, tile_grid=8) for limit in (1, 2, 4))
    assert (one == two).all() and (one != four).any()


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


def test_affine_of_the_network_s_grid_by_hand():
    grid = np.zeros((3, 2, 10, 40), np.uint8)
    affine = np.array([[-1, 0, 0, 9], [0, -2, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1.0]])  # 20 mm high, 40 mm wide
    volume = Volume(grid, affine=affine)
    found = network_affine(volume, plain(16), view_of(volume, plain(16)))
    # 40 columns become 16, of 2.5 mm; 10 rows become 8, from row 4 on, of 2.5 mm as well.
    first = np.array([0.75, -4 * 1.25 + 0.125, 0, 1])  # in the scan, the middle of the grid's first voxel
    np.testing.assert_allclose(np.abs(np.diag(found))[:3], [2.5, 2.5, 3])
    np.testing.assert_allclose(found[:, 3], affine @ first)
    cut = View(box=(slice(0, 10), slice(20, 40)))
    moved = network_affine(volume, plain(16, crop=True), cut._replace(aspect=2.0))
    np.testing.assert_allclose(moved[:3, 3], (affine @ [19.5 + 0.625, -0.5 + 0.3125, 0, 1])[:3])
    assert network_affine(Volume(grid), plain(16), View()) is None


def test_a_crop_fills_the_input_with_the_head_and_comes_back_in_its_place():
    volume = np.zeros((2, 100, 100, 3), np.uint8)
    volume[:, 10:90, 20:70] = 100
    config = plain(32, crop=True)
    view = view_of(Volume.of_slices(volume), config)
    rows, columns = view.box
    sides = rows.stop - rows.start, columns.stop - columns.start
    assert sides == pytest.approx((84, 54), abs=2)  # smoothing widens it by a pixel on each side
    prepared = preprocess(volume[0], config, view)
    assert (prepared[..., 0] > 0.2).mean() > 1.3 * (preprocess(volume[0], plain(32))[..., 0] > 0.2).mean()
    mask = np.zeros((100, 100), bool)
    mask[40:60, 30:50] = True
    back = restore(preprocess_mask(mask, config, view).astype(np.float32), (100, 100), view) >= 0.5
    for axis, (first, last) in enumerate(((40, 59), (30, 49))):
        found = np.flatnonzero(back.any(axis=1 - axis))
        assert abs(found[0] - first) <= 3 and abs(found[-1] - last) <= 3


def test_network_input_is_each_slice_with_its_neighbours():
    volume = np.random.default_rng(8).integers(1, 256, (3, 16, 16, 3), dtype=np.uint8)
    config = plain(neighbours=1)
    inputs = network_input(Volume.of_slices(volume), config)
    own = volume.astype(np.float32) / 255
    assert inputs.shape == (3, 16, 16, config.channels) == (3, 16, 16, 9)
    np.testing.assert_array_equal(inputs[1], np.concatenate([own[1], own[0], own[2]], axis=-1))
    np.testing.assert_array_equal(inputs[2], np.concatenate([own[2], own[1], own[2]], axis=-1))
    alone = network_input(Volume.of_slices(volume[:1]), config)
    np.testing.assert_array_equal(alone[0], np.concatenate([own[0]] * 3, axis=-1))


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
        {"neighbours": -1},
        {"size": 128},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)
