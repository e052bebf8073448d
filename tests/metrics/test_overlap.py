"""Answers worked out by hand; the working stands beside each."""

import math

import numpy as np
import pytest

from metseg.metrics.overlap import dice, false_alarm_worth, lesion_dice, match_lesions

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


@pytest.mark.parametrize("call", [lambda a, b: dice(a, b, empty=0.0), match_lesions])
def test_refuses_other_shapes_and_dtypes(call):
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        call(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(TypeError, match="mask_pred is uint8"):
        call(EMPTY, EMPTY.astype(np.uint8))


# lesions


def counted(mask_ref: np.ndarray, mask_pred: np.ndarray) -> tuple[int, int, int]:
    """Lesions of the reference, those of them found, and false positives."""
    table = match_lesions(mask_ref, mask_pred)
    return int((~table.false_positive).sum()), int(table.found.sum()), int(table.false_positive.sum())


def test_lesions_found_missed_and_invented():
    mask_ref = mask("##....", "......", "....#.", "......")
    mask_pred = mask(".#....", "......", "......", "..#..#")
    assert counted(mask_ref, mask_pred) == (2, 1, 2)


def test_lesions_matched_by_hand():
    mask_ref = mask("##....", "......", "###.#.", "......")
    mask_pred = mask(".#....", "......", "#.#.#.", "..#..#")
    # The row of three is touched twice, by one pixel and by two; the last one grows over its border.
    table = match_lesions(mask_ref, mask_pred)
    assert table.false_positive.tolist() == [False] * 3
    assert table.voxels.tolist() == [2, 3, 1] and table.found.all()
    assert table.dice.tolist() == pytest.approx([2 * 1 / (2 + 1), 2 * 2 / (3 + 3), 2 * 1 / (1 + 2)])


def test_lesions_missed_and_invented_are_listed():
    table = match_lesions(mask("##..", "....", "...."), mask("....", "....", ".###"))
    assert table.to_numpy().tolist() == [
        [False, 2, False, 0.0],
        [True, 3, False, pytest.approx(NAN, nan_ok=True)],
    ]
    nothing = match_lesions(EMPTY, EMPTY)
    assert nothing.empty and nothing.dtypes.tolist() == table.dtypes.tolist()


def test_one_prediction_over_two_lesions_counts_for_both():
    table = match_lesions(mask("#.#"), mask("###"))
    assert table.dice.tolist() == pytest.approx([2 / 4, 2 / 4])


def test_lesions_touching_at_corners_are_one():
    assert counted(mask("#.", ".#"), EMPTY) == (1, 0, 0)
    assert counted(np.stack([mask("#.", ".."), mask("..", ".#")]), np.zeros((2, 2, 2), bool)) == (1, 0, 0)
    assert counted(mask("#.#"), mask("...")) == (2, 0, 0)


def test_a_neighbour_is_a_false_positive():
    # side by side, but no voxel shared
    assert counted(mask("##.."), mask("..#.")) == (1, 0, 1)


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
