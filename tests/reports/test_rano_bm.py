"""The thresholds of RANO-BM, each from both sides."""

import numpy as np
import pytest

from metseg.masks.measure import measure_mask
from metseg.reports.rano_bm import assess_response, choose_targets, why_not_measurable


def block(rows: int, columns: int, slices: int, spacing_mm=(1, 1, 1)):
    (lesion,), _ = measure_mask(np.ones((slices, rows, columns), bool), spacing_mm=spacing_mm)
    return lesion


@pytest.mark.parametrize(
    ("lesion", "slice_mm", "measurable"),
    [
        (block(5, 10, 2), 1, True),
        (block(4, 9, 2), 1, False),  # √(9² + 3²) < 10
        (block(3, 12, 2), 1, False),  # too narrow
        (block(5, 10, 1), 1, False),
        (block(5, 10, 2), 5, True),
        (block(5, 10, 2), 6, False),
        (block(5, 10, 2, None), None, False),
    ],
)
def test_measurable(lesion, slice_mm: float | None, measurable: bool):
    assert (why_not_measurable(lesion, slice_mm) == []) == measurable


def test_five_targets_at_most_and_the_longest_first():
    mask = np.zeros((2, 120, 30), bool)
    for k, length in enumerate((11, 16, 12, 15, 13, 14, 4)):
        mask[:, 15 * k : 15 * k + 8, :length] = True
    lesions, _ = measure_mask(mask, spacing_mm=(1, 1, 1))
    by_number = {each.number: each for each in lesions}
    chosen = choose_targets(lesions, 1)
    assert [by_number[n].box[2][1] for n in chosen] == [16, 15, 14, 13, 12]
    assert choose_targets(lesions, None) == ()


@pytest.mark.parametrize(
    ("targets_mm", "category"),
    [
        ([[20, 10], [0, 0]], "CR"),
        ([[20, 10], [11, 10]], "PR"),  # 30 % of 30 exactly
        ([[20, 10], [11.1, 10]], "SD"),
        ([[20, 10], [26, 10]], "PD"),  # 20 % exactly, and one by 6 mm
        ([[20, 10], [23, 13]], "SD"),  # 20 %, but none by 5 mm
        ([[20, 10], [24.9, 10]], "SD"),
        ([[20, 10], [5, 5], [10, 5]], "PD"),  # half of the baseline, yet 50 % above the nadir
        ([[20, 10], [5, 5], [8, 5]], "PR"),  # 30 % above the nadir by 3 mm only
        ([[20, 10], [0, 0], [4, 0]], "PD"),  # after a complete response
        ([[20, 10], [4, 0], [8, 0]], "PR"),
        ([[20, 10], [0, 0], [0, 0]], "CR"),
    ],
)
def test_targets(targets_mm, category: str):
    found = assess_response(targets_mm, [[] for _ in targets_mm])
    assert found.category == category and found.reasons
    assert found.baseline_mm == 30 and found.sums_mm == tuple(map(sum, targets_mm))


def test_other_lesions_and_new_ones():
    gone = [[20], [0]]
    assert assess_response(gone, [[6], [0]]).category == "CR"
    assert assess_response(gone, [[6], [6]]).category == "PR"
    assert assess_response(gone, [[6], [0]], [2]).category == "PD"
    assert assess_response(gone, [[6], [0]], [1]).category == "PR"  # equivocal, but not complete
    assert assess_response([[20], [0], [4]], [[6], [6], [6]]).category == "PR"  # it never was complete
    assert assess_response([[20], [0], [5]], [[6], [6], [6]]).category == "PD"
    assert assess_response([[20], [0], [0]], [[6], [0], [6]]).category == "PD"
    stable = assess_response([[20], [20]], [[6], [6]])
    grown = assess_response([[20], [20]], [[6], [12]])
    assert stable.category == grown.category == "SD"  # whether it is unequivocal is a reader's judgement
    assert len(grown.reasons) == len(stable.reasons) + 1


def test_without_targets():
    assert assess_response([[], []], [[6], [6]]).category == "non-CR/non-PD"
    assert assess_response([[], []], [[6], [0]]).category == "CR"
    assert (
        assess_response([[], []], [[6], [0]], [1]).category == "non-CR/non-PD"
    )  # nothing to respond in part
    assert assess_response([[], [], []], [[6], [0], [6]]).category == "PD"
    assert assess_response([[], []], [[6], [6]], [3]).category == "PD"
    assert assess_response([[], []], [[], []]).category == "NE"
    assert assess_response([[], []], [[], []], [2]).category == "PD"
