"""Masks drawn as text, so that every answer can be seen."""

import numpy as np
import pytest
from pydantic import ValidationError

from metseg.masks.postprocess import Postprocessing, detection_map, drop_minor, postprocess, volume_mask


def drawn(*rows: str) -> np.ndarray:
    """An (H, W) bool mask; # is lesion."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def mask_of(mask: np.ndarray, **options) -> np.ndarray:
    """The postprocessing of a map that is 0.9 in a mask and 0.1 elsewhere."""
    return postprocess(np.where(mask, np.float32(0.9), np.float32(0.1)), Postprocessing(**options))


RING = drawn(
    ".......",
    ".###...",
    ".#.#..#",
    ".###...",
    ".......",
)
DISK = drawn(
    ".......",
    ".###...",
    ".###..#",
    ".###...",
    ".......",
)


# within a volume


@pytest.mark.parametrize(("share", "kept"), [(0, 14), (0.3, 14), (0.4, 14), (0.41, 10), (1, 10)])
def test_lesions_small_beside_the_largest_go(share, kept):
    volume = np.zeros((3, 8, 8), bool)
    volume[0, 0, :5] = volume[1, 0, :5] = True  # 10
    volume[2, 6, :4] = True  # 4, beyond an empty row
    before = volume.copy()
    assert drop_minor(volume, share).sum() == kept
    np.testing.assert_array_equal(volume, before)


def test_of_two_as_large_both_are_kept_and_of_none_none():
    volume = np.zeros((1, 8, 8), bool)
    assert not drop_minor(volume, 1).any()
    volume[0, 0, :3] = volume[0, 7, :3] = True
    assert drop_minor(volume, 1).sum() == 6


# threshold


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_pixel_right_at_the_threshold_is_lesion(threshold):
    """Also where the nearest float32 lies below the threshold, as it does for 0.7 and 0.9."""
    at = np.float32(threshold)
    prob_map = np.array([[0, np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(1)), 1]])
    mask = postprocess(prob_map.astype(np.float32), Postprocessing(threshold=threshold))
    assert mask.dtype == bool and mask.tolist() == [[False, False, True, True, True]]


def test_by_default_the_threshold_is_all():
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    np.testing.assert_array_equal(mask_of(mask), mask)
    np.testing.assert_array_equal(mask_of(RING, min_lesion_px=1), RING)


def test_the_map_is_left_as_it_was():
    prob_map = np.where(RING, np.float32(0.9), np.float32(0.1))
    before = prob_map.copy()
    postprocess(prob_map, Postprocessing(fill_holes=True, min_lesion_px=3))
    np.testing.assert_array_equal(prob_map, before)


# smallest lesion


@pytest.mark.parametrize(
    ("min_lesion_px", "ring", "dot"), [(0, 8, 1), (1, 8, 1), (2, 8, 0), (8, 8, 0), (9, 0, 0)]
)
def test_a_lesion_of_just_the_smallest_size_stays(min_lesion_px, ring, dot):
    mask = mask_of(RING, min_lesion_px=min_lesion_px)
    assert (mask[:, :4].sum(), mask[:, 6].sum()) == (ring, dot)
    assert not (mask & ~RING).any()


def test_a_smallest_size_beyond_every_lesion_leaves_nothing():
    assert not mask_of(np.ones((5, 5), bool), min_lesion_px=10**12).any()


def test_pixels_that_touch_by_a_corner_are_one_lesion():
    mask = drawn(
        "#....",
        ".#..#",
        "..#..",
    )
    assert mask_of(mask, min_lesion_px=3).tolist() == drawn("#....", ".#...", "..#..").tolist()


# holes


def test_a_ring_becomes_a_disk():
    assert mask_of(RING, fill_holes=True).tolist() == DISK.tolist()
    assert mask_of(RING, fill_holes=False).tolist() == RING.tolist()


def test_a_ring_that_holds_together_by_corners_encloses_as_well():
    ring, disk = (
        drawn("..#..", ".#.#.", "#...#", ".#.#.", "..#.."),
        drawn("..#..", ".###.", "#####", ".###.", "..#.."),
    )
    assert mask_of(ring, fill_holes=True).tolist() == disk.tolist()


@pytest.mark.parametrize(
    "rows",
    [
        ("#.#", "#.#", "###"),
        ("###", "#..", "###"),
        ("####", "#..#", "#.##", "#.##"),
        ("...", "...", "..."),
        ("###", "###", "###"),
    ],
)
def test_what_reaches_the_border_is_no_hole(rows):
    assert mask_of(drawn(*rows), fill_holes=True).tolist() == drawn(*rows).tolist()


def test_a_corner_is_no_way_out_of_a_hole():
    assert (
        mask_of(drawn(".##", "#.#", "##."), fill_holes=True).tolist() == drawn(".##", "###", "##.").tolist()
    )


def test_a_lesion_within_a_hole_becomes_part_of_the_filled_one():
    mask = drawn("#######", "#.....#", "#..#..#", "#.....#", "#######")
    assert mask_of(mask, fill_holes=True).all()


def test_holes_are_filled_before_lesions_are_measured():
    """The ring has 8 px and its hole 1: at 9 it stays if filled first, and is dropped if not filled."""
    disk = DISK.copy()
    disk[2, 6] = False
    assert mask_of(RING, fill_holes=True, min_lesion_px=9).tolist() == disk.tolist()
    assert not mask_of(RING, fill_holes=True, min_lesion_px=10).any()
    assert not mask_of(RING, fill_holes=False, min_lesion_px=9).any()


# volumes


@pytest.mark.parametrize(
    "options", [{}, {"fill_holes": True}, {"min_lesion_px": 6}, {"fill_holes": True, "min_lesion_px": 6}]
)
def test_a_slice_within_a_volume_is_as_alone(options):
    volume = np.random.default_rng(3).random((4, 24, 31)) < 0.45
    together = mask_of(volume, **options)
    assert together.shape == volume.shape and together.dtype == bool
    for alone, plane in zip(together, volume, strict=True):
        np.testing.assert_array_equal(mask_of(plane, **options), alone)
    changed = [not np.array_equal(a, b) for a, b in zip(together, volume, strict=True)]
    assert changed == [bool(options)] * 4


def test_a_lesion_of_two_slices_is_measured_in_each():
    """2 px in each of two slices: one lesion of 4 px in space, and yet too small for 3."""
    volume = np.zeros((2, 5, 5), bool)
    volume[:, 2, 2:4] = True
    assert not mask_of(volume, min_lesion_px=3).any()
    np.testing.assert_array_equal(mask_of(volume, min_lesion_px=2), volume)


# parameters


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 0},
        {"threshold": 1},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"threshold": None},
        {"min_lesion_px": -1},
        {"min_lesion_px": 2.5},
        {"fill_holes": "perhaps"},
        {"treshold": 0.5},
    ],
)
def test_parameters_out_of_range(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        Postprocessing(**values)


def test_parameters_that_nobody_chose():
    assert Postprocessing().model_dump() == {"threshold": 0.5, "min_lesion_px": 0, "fill_holes": False}


# lesion by lesion


def two_lesions() -> np.ndarray:
    """Of 0.4, in two slices one with a voxel of 0.9, in the first alone one with a voxel of 0.5.

    Odds of 0.4 are 2 / 3, of 0.9 9, of 0.5 1. The geometric means are (9 · (2/3)^7)^(1/8) = 0.923, which is a
    probability of 0.480, and (2/3)^(3/4) = 0.738, 0.425.
    """
    prob_map = np.full((2, 5, 9), np.float32(0.1))
    prob_map[:, 1:3, 1:3] = 0.4
    prob_map[1, 1, 1] = 0.9
    prob_map[0, 1:3, 6:8] = 0.4
    prob_map[0, 2, 7] = 0.5
    return prob_map


@pytest.mark.parametrize(
    ("threshold", "lesion_threshold", "voxels"),
    [(0.3, None, 12), (0.3, 0.3, 12), (0.3, 0.42, 12), (0.3, 0.43, 8), (0.3, 0.47, 8), (0.3, 0.49, 0)]
    + [(0.45, None, 2), (0.45, 0.6, 1), (0.45, 0.2, 2)],
)
def test_a_lesion_is_kept_whole_if_its_score_reaches_the_threshold(threshold, lesion_threshold, voxels):
    settings = Postprocessing(threshold=threshold, lesion_threshold=lesion_threshold)
    assert postprocess(two_lesions(), settings).sum() == voxels
    assert volume_mask(two_lesions(), settings, 0.0).sum() == voxels


def test_a_slice_alone_is_judged_by_itself():
    settings = Postprocessing(threshold=0.3, lesion_threshold=0.5)
    first, second = (postprocess(each, settings).sum() for each in two_lesions())
    assert (first, second) == (0, 4)  # scores of 0.4 and 0.425 in the first, 0.56 in the second


@pytest.mark.parametrize("lesion_threshold", [0.2, 0.3, 0.41, 0.43, 0.46, 0.6])
def test_one_map_cut_at_a_threshold_gives_the_mask_there(lesion_threshold):
    own = Postprocessing(threshold=0.3)
    there = own.detecting_from(lesion_threshold)
    assert there.threshold == min(0.3, lesion_threshold)
    cut = detection_map(two_lesions(), own.threshold) >= lesion_threshold
    np.testing.assert_array_equal(postprocess(two_lesions(), there), cut)


@pytest.mark.parametrize(
    ("threshold", "voxels"), [(0.05, 90), (0.2, 12), (0.3, 12), (0.45, 2), (0.6, 1), (0.95, 0)]
)
def test_a_lower_threshold_loses_no_lesion(threshold, voxels):
    """A lesion has the score of its voxels from the network's own threshold on, however far it extends."""
    own = Postprocessing(threshold=0.3, lesion_threshold=0.42)
    used = own.extending_from(threshold)
    assert postprocess(two_lesions(), used).sum() == voxels
    assert used.extending_from(threshold) == used and own.extending_from(0.3) == own
    assert used.model_dump() == own.model_dump() | {"threshold": threshold}
    strict = own.detecting_from(0.47).extending_from(threshold)
    assert postprocess(two_lesions(), strict).sum() == {12: 8, 2: 1}.get(voxels, voxels)


def test_settings_of_older_models_are_written_as_they_were():
    old = {"threshold": 0.5, "min_lesion_px": 0, "fill_holes": False}
    assert Postprocessing(**old).model_dump() == old
    assert Postprocessing(**old, lesion_threshold=0.7).model_dump() == old | {"lesion_threshold": 0.7}
