"""What changes from one form of a network to another."""

import pandas as pd
import pytest

from metseg.export.validation_dice import VolumeDice, dice_change, few


def known(dice: list[float], patients: str) -> VolumeDice:
    """Of patients who all have a lesion."""
    return VolumeDice(pd.Series(dice, list(patients)), pd.Series(dtype=float))


@pytest.mark.parametrize(
    ("after", "mean", "largest", "negligible"),
    [
        ([0.5, 0.9, 0.7], 0.0, 0.0, True),
        ([0.491, 0.908, 0.7], -0.001 / 3, -0.009, True),
        ([0.503, 0.903, 0.703], 0.003, 0.003, False),  # all a little
        ([0.497, 0.897, 0.697], -0.003, -0.003, False),
        ([0.488, 0.911, 0.7], -0.001 / 3, -0.012, False),  # one for another
        ([0.51, 0.896, 0.7], 0.002, 0.01, True),  # at both bounds, above them as computers count
    ],
)
def test_what_a_mean_hides_counts_as_well(after, mean, largest, negligible):
    # In another order, for patients are compared, not rows.
    before, after = known([0.5, 0.9, 0.7], "abc"), known(after[::-1], "cba")
    change = dice_change([before, before], [after, before])
    assert change == pytest.approx((mean, 0, largest))
    alone = dice_change([before, before], [before, after])
    assert alone == pytest.approx((0, mean, largest))
    assert change.negligible == alone.negligible == negligible


def test_a_false_alarm_is_a_change_too():
    """(0.6 + 0.8) / 2 becomes 1.4 / 2.25: b, who has no lesion, gets a third of a lesion's voxels."""
    before = VolumeDice(pd.Series([0.6, 0.8], list("ac")), pd.Series([0.0], ["b"]))
    change = dice_change([before] * 2, [before._replace(false_alarm=pd.Series([0.25], ["b"])), before])
    assert change == pytest.approx((1.4 / 2.25 - 0.7, 0, 0.25))
    assert not change.negligible


def test_a_few_scans_are_spread_evenly():
    assert few([*range(9)], 6) == [0, 1, 3, 4, 6, 7]
    assert few([1, 2], 6) == [1, 2] and few([], 6) == []
