"""Lesions found, missed and invented by each rule, worked out by hand."""

import numpy as np
import pytest

from metseg.metrics.lesion_matching import MATCHINGS, match_lesions

NAN = float("nan")


def mask(*rows: str) -> np.ndarray:
    """Rows of '#' and '.' as a bool mask (H, W)."""
    return np.array([[letter == "#" for letter in row] for row in rows])


EMPTY = np.zeros((2, 2), dtype=bool)


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


# the challenges' rules


def table(mask_ref: np.ndarray, mask_pred: np.ndarray, rule: str) -> list[list]:
    return match_lesions(mask_ref, mask_pred, rule=rule).to_numpy().tolist()


@pytest.mark.parametrize("rule", MATCHINGS)
def test_nothing_and_all_of_it(rule):
    assert table(EMPTY, EMPTY, rule) == []
    assert table(mask("##..", "...."), mask("##..", "...."), rule) == [[False, 2, True, 1.0]]


def test_mets2023_joins_what_dilation_joins():
    # With two voxels between them the dilated lesions touch; with three they stay apart.
    assert table(mask("#..#"), mask("...."), "mets2023") == [[False, 2, False, 0.0]]
    assert len(table(mask("#...#"), mask("....."), "mets2023")) == 2


def test_mets2023_takes_neighbours_and_unites_them():
    # Both predicted lesions touch the dilated one, the first shares a voxel with it: 2 · 1 / (2 + 3).
    assert table(mask("##....."), mask("#.##..#"), "mets2023") == [
        [False, 2, True, pytest.approx(2 * 1 / (2 + 3))],
        [True, 1, False, pytest.approx(NAN, nan_ok=True)],
    ]
    # The 18-connected dilation reaches no corner of a cube.
    corner, cube = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    cube[1, 1, 1] = corner[0, 0, 0] = True
    assert [row[2] for row in table(cube, corner, "mets2023")] == [False, False]
    corner[0, 1, 0] = True
    assert [row[2] for row in table(cube, corner, "mets2023")] == [True]


def test_mets2026_matches_one_to_one():
    # A torn lesion has its larger half, the other one is invented; it is found from Dice 0.2 on.
    assert table(mask("######"), mask("###.#."), "mets2026") == [
        [False, 6, True, pytest.approx(6 / 9)],
        [True, 1, False, pytest.approx(NAN, nan_ok=True)],
    ]
    # Of two lesions under one prediction it belongs to one.
    assert [row[3] for row in table(mask("##.#"), mask("####"), "mets2026")] == [pytest.approx(4 / 6), 0.0]
    assert table(mask("#" * 9), mask("#........"), "mets2026") == [[False, 9, True, 0.2]]
    assert table(mask("#" * 10), mask("#........."), "mets2026") == [[False, 10, False, 2 / 11]]


def test_mets2026_has_the_largest_sum_not_the_best_pair():
    # The long prediction fits the long lesion best, 12/19, yet the short lesion has no other partner.
    mask_ref, mask_pred = mask("##########.##"), mask("###.#########")
    assert [row[3] for row in table(mask_ref, mask_pred, "mets2026")] == pytest.approx([6 / 13, 4 / 11])


def test_a_rule_without_a_name():
    with pytest.raises(ValueError, match="voxel, mets2023, mets2026"):
        match_lesions(EMPTY, EMPTY, rule="iou")
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        match_lesions(EMPTY, np.zeros((2, 3), bool))
    with pytest.raises(TypeError, match="mask_pred is uint8"):
        match_lesions(EMPTY, EMPTY.astype(np.uint8))
