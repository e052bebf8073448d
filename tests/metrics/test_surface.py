"""Distances worked out by hand; the working stands beside each."""

import math

import numpy as np
import pytest

from metseg.metrics.surface import hd95

NAN = float("nan")


def points(shape: tuple[int, ...], *where: tuple[int, ...]) -> np.ndarray:
    """A mask with single voxels set."""
    result = np.zeros(shape, dtype=bool)
    for index in where:
        result[index] = True
    return result


EMPTY = np.zeros((2, 2), dtype=bool)
CORNER = points((2, 2), (0, 0))


def test_hd95_empty():
    assert hd95(EMPTY, EMPTY, spacing=(1, 1)) == 0.0
    assert hd95(CORNER, EMPTY, spacing=(1, 1)) == math.inf
    assert hd95(EMPTY, CORNER, spacing=(1, 1)) == math.inf


def test_hd95_follows_the_spacing():
    # three voxels apart along z, 5 mm each; then the diagonal of a 3 mm by 4 mm step
    one, three_up = points((5, 4, 4), (1, 2, 2)), points((5, 4, 4), (4, 2, 2))
    assert hd95(one, three_up, spacing=(5.0, 1.0, 1.0)) == pytest.approx(15.0)
    assert hd95(one, points((5, 4, 4), (1, 3, 3)), spacing=(5.0, 3.0, 4.0)) == pytest.approx(5.0)


def test_hd95_identical_and_shifted():
    square = np.zeros((12, 12), bool)
    square[3:8, 3:8] = True
    assert hd95(square, square, spacing=(1, 1)) == 0.0
    # moved by two columns: of 16 rim pixels the 5 on the far side are 2 px away, so the percentile is 2
    assert hd95(square, np.roll(square, 2, axis=1), spacing=(1, 1)) == pytest.approx(2.0)


def test_hd95_percentile_by_hand():
    # reference: one pixel at (1, 1) and a 3x3 block whose rim is 8 pixels; prediction: the block alone.
    # From the reference: eight distances 0 and one 8*sqrt(2); position 0.95 * 8 = 7.6 is 0.6 of the way.
    mask_pred = np.zeros((14, 14), bool)
    mask_pred[9:12, 9:12] = True
    mask_ref = mask_pred | points((14, 14), (1, 1))
    expected = 0.6 * 8 * math.sqrt(2)
    assert hd95(mask_ref, mask_pred, spacing=(1, 1)) == pytest.approx(expected)
    assert hd95(mask_pred, mask_ref, spacing=(1, 1)) == pytest.approx(expected)


def test_hd95_interior_is_no_surface():
    # a hole in the middle of a 5x5 square: its 4 neighbours join the rim of 16 at distance 1 from it;
    # from the holed mask: sixteen 0, four 1, position 0.95 * 19 = 18.05 lies among the ones
    square = np.ones((5, 5), bool)
    holed = square & ~points((5, 5), (2, 2))
    assert hd95(square, holed, spacing=(1, 1)) == pytest.approx(1.0)


def test_hd95_tree_and_map_agree():
    # a dense small array goes through the distance map, the same masks padded by far voxels through the tree
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 6, 8, 8)) < 0.5
    far = points((60, 80, 80), (59, 79, 79))
    pad = [(0, 54), (0, 72), (0, 72)]
    small, large = (
        hd95(*pair, spacing=(5, 1, 1.5)) for pair in ((a, b), (np.pad(a, pad) | far, np.pad(b, pad) | far))
    )
    assert small == pytest.approx(large)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, NAN)])
def test_hd95_refuses_spacing(spacing):
    with pytest.raises(ValueError, match="one positive length per axis"):
        hd95(CORNER, CORNER, spacing=spacing)


def test_missing_a_lesion_never_helps_hd95():
    mask_ref = points((1, 20, 20), (0, 2, 2), (0, 2, 17), (0, 17, 17))
    distances = []
    for kept in (3, 2, 1, 0):
        mask_pred = points(mask_ref.shape, *[tuple(index) for index in np.argwhere(mask_ref)[:kept]])
        distances.append(hd95(mask_ref, mask_pred, spacing=(5.0, 1.0, 1.0)))
    # 0, then one of three 15 away, then 15 and sqrt(15**2 + 15**2), then a complete miss
    assert distances == sorted(distances)
    assert distances[0] == 0.0
    assert distances[1] == pytest.approx(0.9 * 15)  # position 0.95 * 2 = 1.9 among 0, 0, 15
    assert distances[2] == pytest.approx(15 + 0.9 * (15 * math.sqrt(2) - 15))
    assert distances[3] == math.inf
