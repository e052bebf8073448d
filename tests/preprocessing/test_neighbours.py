"""Which slices lie beside which, by hand."""

import numpy as np

from metseg.preprocessing.neighbours import neighbour_rows, stacked


def test_volumes_do_not_mix():
    assert neighbour_rows([3, 1], 1).tolist() == [[0, 0, 1], [1, 0, 2], [2, 1, 2], [3, 3, 3]]
    assert neighbour_rows([4], 2).tolist() == [
        [0, 0, 1, 0, 2], [1, 0, 2, 0, 3], [2, 1, 3, 0, 3], [3, 2, 3, 1, 3],
    ]  # fmt: skip
    assert neighbour_rows([2, 1], 0).tolist() == [[0], [1], [2]]


def test_channels_are_joined_slice_by_slice():
    slices = np.arange(2 * 1 * 1 * 3).reshape(2, 1, 1, 3)
    joined = stacked(slices, np.array([[1, 0], [0, 0]]))
    assert joined.tolist() == [[[[3, 4, 5, 0, 1, 2]]], [[[0, 1, 2, 0, 1, 2]]]]
