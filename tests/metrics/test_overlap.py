"""Answers worked out by hand; the working stands beside each."""

import math

import numpy as np
import pytest

from metseg.metrics.overlap import dice, false_alarm_worth, lesion_dice

NAN = float("nan")


def mask(*rows: str) -> np.ndarray:
    """Rows of '#' and '.' as a bool mask (H, W)."""
    return np.array([[letter == "#" for letter in row] for row in rows])


EMPTY = np.zeros((2, 2), dtype=bool)
CORNER = mask("#.", "..")


def test_dice_two_by_two():
    # reference 2 px, prediction 3 px, both 1 px
    assert dice(mask("##", ".."), mask("#.", "##"), empty=NAN) == pytest.approx(2 * 1 / (2 + 3))


def test_dice_one_pixel_shift():
    # a 3x3 square moved by one pixel keeps 6 of its 9
    mask_ref = mask(".....", ".###.", ".###.", ".###.", ".....")
    assert dice(mask_ref, np.roll(mask_ref, 1, axis=1), empty=NAN) == pytest.approx(12 / 18)


@pytest.mark.parametrize("empty", [1.0, 0.0, NAN])
def test_the_policy_moves_only_the_empty_case(empty):
    assert dice(EMPTY, EMPTY, empty=empty) == pytest.approx(empty, nan_ok=True)
    assert dice(CORNER, EMPTY, empty=empty) == dice(EMPTY, CORNER, empty=empty) == 0.0
    assert dice(CORNER, CORNER, empty=empty) == 1.0
    assert dice(CORNER, ~CORNER, empty=empty) == 0.0


def test_refuses_other_shapes_and_dtypes():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        dice(np.zeros((2, 2), bool), np.zeros((2, 3), bool), empty=0.0)
    with pytest.raises(TypeError, match="mask_pred is uint8"):
        dice(EMPTY, EMPTY.astype(np.uint8), empty=0.0)


# the Dice that an epoch or a setting is chosen by


@pytest.mark.parametrize(
    ("ref", "pred", "tp", "expected"),
    [
        ([8, 4], [8, 4], [4, 4], 0.75),  # (8/16 + 1) / 2: all have a lesion
        ([8, 4, 0], [8, 4, 0], [4, 4, 0], 0.75),  # one without is rightly left empty
        ([8, 4, 0], [8, 4, 6], [4, 4, 0], 1.5 / 2.5),  # a false alarm of the mean lesion's 6 voxels
        ([8, 4, 0, 0], [8, 4, 2, 18], [4, 4, 0, 0], 1.5 / (2 + 2 / 8 + 18 / 24)),
        ([8, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0),  # nothing is predicted
        ([8, 0, 0], [0, 5, 0], [0, 0, 0], 0),
        ([0, 0], [0, 3], [0, 0], math.nan),  # nobody has a lesion: it cannot be known
        ([], [], [], math.nan),
    ],
)
def test_dice_of_patients_with_and_without_a_lesion(ref, pred, tp, expected):
    assert lesion_dice(ref, pred, tp) == pytest.approx(expected, nan_ok=True)


def test_a_larger_false_alarm_only_lowers_the_dice():
    scores = [lesion_dice([10, 0, 0], [10, alarm, 0], [6, 0, 0]) for alarm in (0, 1, 5, 50, 5_000)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 5
    assert scores[0] == pytest.approx(0.6) and scores[-1] > 0.3  # the worst is one patient more


def test_the_worth_of_a_false_alarm():
    worth = false_alarm_worth([30, 0, 10, 0, 0], [1, 20, 1, 0, 60])  # the mean lesion has 20
    np.testing.assert_allclose(worth, [1 / 2, 0, 3 / 4])
