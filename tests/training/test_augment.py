"""An image and its mask move together, within the stated ranges, as the generator says."""

import numpy as np
import pytest
from pydantic import ValidationError

from metseg.data.volume import SEQUENCES, Volume
from metseg.training.augment import Augmentation, augment_pair, augment_patch

OFF = dict.fromkeys(
    Augmentation.model_fields.keys() - {"augment", "flip", "copy_paste", "never_missing"}, 0.0
)
OFF["flip"] = False
SIZE = 64


def augmentation(**on) -> Augmentation:
    """Everything off but what is named."""
    return Augmentation(**{**OFF, **on})


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def mask() -> np.ndarray:
    """A lopsided lesion: no turn or mirror image of it is itself."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:45, 25:35] = True
    mask[20:28, 25:48] = True
    return mask


@pytest.fixture
def image(mask) -> np.ndarray:
    """The mask drawn into each of three channels."""
    return np.repeat(mask[..., None], 3, axis=2).astype(np.float32)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize(
    "on",
    [
        {"rotation_deg": 90.0},
        {"shift": 0.2},
        {"zoom": 0.3},
        {"flip": True},
        {"elastic": 0.02},
        {"rotation_deg": 45.0, "shift": 0.1, "zoom": 0.2, "flip": True, "elastic": 0.02},
    ],
)
def test_image_and_mask_move_together(image, mask, on):
    stayed = []
    for seed in range(12):
        moved, moved_mask = augment_pair(image, mask, augmentation(**on), generator(seed))
        for channel in range(3):
            assert overlap(moved[..., channel] > 0.5, moved_mask) > 0.93  # edges: linear against nearest
        stayed.append(overlap(mask, moved_mask))
    assert min(stayed) < 0.75  # or nothing was moved at all
    assert moved.shape == image.shape and moved.dtype == np.float32
    assert moved_mask.shape == mask.shape and moved_mask.dtype == bool


def test_all_off_changes_nothing(mask):
    image = generator().integers(0, 256, (SIZE, SIZE, 3)).astype(np.float32) / 255
    same, same_mask = augment_pair(image, mask, augmentation(), generator(5))
    assert (same == image).all() and (same_mask == mask).all()


def test_a_flip_is_the_exact_mirror_image_in_half_of_the_cases(mask):
    image = generator().random((SIZE, SIZE, 3), dtype=np.float32)
    flips = 0
    for seed in range(100):
        moved, moved_mask = augment_pair(image, mask, augmentation(flip=True), generator(seed))
        flipped = not (moved_mask == mask).all()
        assert (moved == (image[:, ::-1] if flipped else image)).all()
        assert (moved_mask == (mask[:, ::-1] if flipped else mask)).all()
        flips += flipped
    assert 35 <= flips <= 65


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def test_a_shift_stays_within_its_share_of_the_side_along_each_axis(image, mask):
    shifts = []
    for seed in range(60):
        _, moved = augment_pair(image, mask, augmentation(shift=0.1), generator(seed))
        assert abs(int(moved.sum()) - int(mask.sum())) <= 0.1 * mask.sum()
        shifts.append(centre(moved) - centre(mask))
    largest, smallest = np.max(shifts, axis=0), np.min(shifts, axis=0)
    assert (largest <= 6.4 + 0.5).all() and (smallest >= -6.4 - 0.5).all()  # 0.1 of 64 px, and rounding
    assert (largest > 5).all() and (smallest < -5).all()  # and the range is used


def test_a_zoom_stays_within_its_range():
    middle = np.zeros((SIZE, SIZE), bool)
    middle[16:48, 16:48] = True
    image = np.repeat(middle[..., None], 3, axis=2).astype(np.float32)
    sides = []
    for seed in range(60):
        _, moved = augment_pair(image, middle, augmentation(zoom=0.25), generator(seed))
        sides.append(np.sqrt(moved.sum()))
    assert min(sides) >= 0.75 * 32 - 1 and max(sides) <= 1.25 * 32 + 1
    assert min(sides) < 0.85 * 32 and max(sides) > 1.15 * 32


def test_a_rotation_turns_about_the_centre_within_its_range():
    dot = np.zeros((SIZE, SIZE), bool)
    dot[30:34, 52:58] = True  # to the right of the centre (31.5, 31.5)
    image = np.repeat(dot[..., None], 3, axis=2).astype(np.float32)
    angles = []
    for seed in range(60):
        _, moved = augment_pair(image, dot, augmentation(rotation_deg=30.0), generator(seed))
        y, x = centre(moved) - 31.5
        assert np.hypot(y, x) == pytest.approx(23, abs=0.7)  # 54.5 - 31.5
        angles.append(np.degrees(np.arctan2(y, x)))
    assert np.abs(angles).max() <= 31.5
    assert min(angles) < -20 and max(angles) > 20


@pytest.mark.parametrize(
    "on",
    [
        {"gamma": 3.0},
        {"brightness": 1.0},
        {"noise": 0.5},
        {"gamma": 3.0, "brightness": 1.0, "noise": 0.5, "rotation_deg": 180.0, "elastic": 0.2, "zoom": 0.9},
    ],
)
def test_intensities_stay_between_0_and_1_and_the_mask_stays_a_mask(mask, on):
    image = generator().random((SIZE, SIZE, 3), dtype=np.float32)
    for seed in range(8):
        changed, changed_mask = augment_pair(image, mask, augmentation(**on), generator(seed))
        assert changed.dtype == np.float32 and changed.min() >= 0 and changed.max() <= 1
        assert changed_mask.dtype == bool
        assert not np.allclose(changed, image)
        if "rotation_deg" not in on:
            assert (changed_mask == mask).all()


def test_a_slice_stands_in_for_its_neighbours(mask):
    image, alone = generator().random((SIZE, SIZE, 9), dtype=np.float32), 0
    for seed in range(100):
        changed, _ = augment_pair(image, mask, augmentation(neighbour_dropout=0.3), generator(seed))
        stands_in = (changed == np.tile(image[..., :3], 3)).all()
        assert stands_in or (changed == image).all()
        alone += stands_in
    assert 20 <= alone <= 40
    single = image[..., :3]
    assert (augment_pair(single, mask, augmentation(neighbour_dropout=1.0), generator())[0] == single).all()


def test_flair_stands_in_for_a_missing_sequence(mask):
    image = generator().random((SIZE, SIZE, 6), dtype=np.float32)  # with one neighbour
    seen = set()
    for seed in range(60):
        changed, _ = augment_pair(image, mask, augmentation(modality_dropout=0.5), generator(seed))
        assert (changed[..., 1::3] == image[..., 1::3]).all()
        pattern = []
        for channel in (0, 2):
            own, flair = (changed[..., channel::3] == image[..., k::3] for k in (channel, 1))
            assert own.all() or flair.all()
            pattern.append(bool(flair.all()))
        seen.add(tuple(pattern))
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


def test_of_what_is_missing_post_contrast_never_is(mask):
    """Flair stands in for t1, and post-contrast for what flair does not."""
    image = generator().random((SIZE, SIZE, 6), dtype=np.float32)
    seen = set()
    for seed in range(60):
        config = augmentation(modality_dropout=0.5, never_missing="t1c")
        changed, _ = augment_pair(image, mask, config, generator(seed))
        shows = [
            next(k for k in (channel, 1, 2) if (changed[..., channel::3] == image[..., k::3]).all())
            for channel in range(3)
        ]
        seen.add(tuple(shows))
    assert seen == {(0, 1, 2), (1, 1, 2), (0, 2, 2), (2, 2, 2)}


@pytest.mark.parametrize("never_missing", ["flair", "t1c"])
def test_a_patch_lacks_sequences_as_the_scan_would(mask, never_missing):
    image = generator().integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    config = augmentation(modality_dropout=1.0, never_missing=never_missing)
    still, masks = augmentation(), np.stack([mask] * 2)
    whole, _ = augment_patch(image, masks, (0, 0), SIZE, still, generator())
    changed, _ = augment_patch(image, masks, (0, 0), SIZE, config, generator())
    expected = Volume.of_slices(whole).without({*SEQUENCES} - {never_missing})
    np.testing.assert_array_equal(changed, expected.channels_last)


def test_what_stands_in_is_flair_as_it_is_after_all_changes(mask):
    image = generator().random((SIZE, SIZE, 3), dtype=np.float32)
    config = augmentation(modality_dropout=1.0, gamma=0.6, brightness=0.1, noise=0.05)
    changed, _ = augment_pair(image, mask, config, generator())
    assert (changed == changed[..., 1:2]).all() and (changed[..., 1] != image[..., 1]).any()


def test_gamma_keeps_black_and_white_and_differs_by_channel(mask):
    grey = np.linspace(0, 1, 256, dtype=np.float32).repeat(3).reshape(256, 3)
    image = np.resize(grey, (SIZE, SIZE, 3))
    for seed in range(20):
        changed, _ = augment_pair(image, mask, augmentation(gamma=1.0), generator(seed))
        assert (changed[image == 0] == 0).all() and (changed[image == 1] == 1).all()
        middle = np.float32(128 / 255)
        exponents = np.log(changed.reshape(-1, 3)[128]) / np.log(middle)
        assert (exponents >= 0.5 - 1e-4).all() and (exponents <= 2 + 1e-4).all()  # 2 ** -1 to 2 ** 1
        assert np.ptp(exponents) > 1e-3
        expected = image ** exponents.astype(np.float32)
        assert np.abs(changed - expected).max() < 1e-4


def test_brightness_moves_each_channel_by_one_offset(mask):
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    changed, _ = augment_pair(image, mask, augmentation(brightness=0.2), generator(1))
    offsets = changed[0, 0] - 0.5
    assert (changed == changed[0, 0]).all()
    assert (np.abs(offsets) <= 0.2).all() and np.ptp(offsets) > 0.01


def test_noise_has_the_stated_standard_deviation(mask):
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    changed, _ = augment_pair(image, mask, augmentation(noise=0.05), generator(1))
    assert changed.std() == pytest.approx(0.05, rel=0.05)
    assert changed.mean() == pytest.approx(0.5, abs=0.002)


def test_one_generator_state_gives_one_result(image, mask):
    config = Augmentation(noise=0.1, elastic=0.03)
    one, other, third = (augment_pair(image, mask, config, generator(seed)) for seed in (7, 7, 8))
    assert (one[0] == other[0]).all() and (one[1] == other[1]).all()
    assert not (one[0] == third[0]).all() and not (one[1] == third[1]).all()


def test_the_pair_given_is_not_changed(image, mask):
    before = image.copy(), mask.copy()
    augment_pair(image, mask, Augmentation(noise=0.1, elastic=0.03), generator())
    assert (image == before[0]).all() and (mask == before[1]).all()


def test_memory_mapped_read_only_masks_are_taken(tmp_path, image, mask):
    np.save(tmp_path / "m.npy", mask)
    mapped = np.load(tmp_path / "m.npy", mmap_mode="r")
    moved, moved_mask = augment_pair(image, mapped, Augmentation(), generator(1))
    assert moved_mask.any() and moved.any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation_deg": 181},
        {"shift": -0.1},
        {"zoom": 1},
        {"noise": 2},
        {"elastic": float("nan")},
        {"tilt": 3},
        {"never_missing": "t1"},
    ],
)
def test_ranges_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Augmentation(**wrong)
