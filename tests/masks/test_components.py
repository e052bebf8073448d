"""Lesions drawn as text, numbered by eye."""

import numpy as np

from metseg.masks.components import label_lesions, number_lesions


def test_pixels_that_touch_by_a_corner_are_one_lesion():
    mask = np.array([list("#...."), list(".#..#"), list("..#..")]) == "#"
    mask[2, 2] = False
    labels, areas = number_lesions(mask)
    assert labels.dtype == np.int32 and labels.shape == mask.shape
    assert sorted(areas[1:].tolist()) == [1, 2] and areas[0] == 12
    assert [np.count_nonzero(labels == number) for number in range(3)] == areas.tolist()
    np.testing.assert_array_equal(label_lesions(mask) > 0, mask)
    assert label_lesions(mask).max() == 2 and label_lesions(mask).dtype == np.int32


def test_lesions_of_a_volume_are_connected_over_slices_and_corners():
    volume = np.zeros((4, 3, 5), bool)
    volume[0, 0, 0] = volume[1, 1, 1] = volume[2, 2, 2] = True  # by corners alone
    volume[0, 0, 4] = True
    numbers = label_lesions(volume)
    assert sorted(np.bincount(numbers.ravel())) == [1, 3, 56]
    assert numbers[0, 0, 0] == numbers[1, 1, 1] == numbers[2, 2, 2] != numbers[0, 0, 4] != 0


def test_where_there_is_none():
    nothing = np.zeros((3, 4), bool)
    assert label_lesions(nothing).max() == 0
    assert number_lesions(nothing)[1].tolist() == [12]
