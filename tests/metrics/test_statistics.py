"""Intervals and tests against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from metseg.metrics.statistics import bootstrap_interval, holm, paired_test, ratio_interval

NAN = float("nan")


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_bootstrap_of_constants(statistic):
    assert bootstrap_interval([0.7] * 5, statistic) == pytest.approx((0.7, 0.7))


def test_bootstrap_near_the_normal_interval():
    values = np.random.default_rng(0).normal(size=100)
    half = 1.96 * values.std() / math.sqrt(100)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert bootstrap_interval(values) == (low, high)  # drawn alike each time


def test_bootstrap_too_few_or_nan():
    assert all(math.isnan(end) for end in bootstrap_interval([0.5]))
    with pytest.raises(ValueError, match="1 of 3 values are nan"):
        bootstrap_interval([0.5, NAN, 0.7])


# two models


def test_ratio_interval_by_hand():
    # Of two patients, resampled: both of one kind in a quarter of the draws each.
    assert ratio_interval([1, 0], [1, 4]) == (0, 1)
    assert ratio_interval([1, 2, 3], [2, 4, 6]) == pytest.approx((0.5, 0.5))
    assert ratio_interval([0, 1, 0], [0, 1, 1]) == (0, 1)  # draws of the first alone tell nothing
    assert all(math.isnan(end) for end in ratio_interval([1, 0], [2, 0]))


def test_paired_test_by_hand():
    # five patients, a better in each, no two differences alike: 2 of the 2**5 sign patterns are as extreme
    dice_a = pd.Series([0.9, 0.8, 0.7, 0.6, 0.5], index=list("vwxyz"))
    dice_b = dice_a - [0.01, 0.02, 0.03, 0.04, 0.05]
    result = paired_test(dice_a, dice_b[::-1])  # another order of the same patients
    assert (result["n"], result["n_dropped"]) == (5, 0)
    assert result["mean_difference"] == pytest.approx(0.03)
    assert result["p_value"] == pytest.approx(2 / 32)
    assert 0.01 < result["mean_difference_low"] < 0.03 < result["mean_difference_high"] < 0.05
    swapped = paired_test(dice_b, dice_a)
    assert swapped["mean_difference"] == pytest.approx(-0.03) and swapped["p_value"] == result["p_value"]


def test_paired_test_of_equals():
    dice = pd.Series([0.9, 0.8, 0.7], index=list("abc"))
    result = paired_test(dice, dice)
    assert result["p_value"] == 1.0
    assert result["mean_difference"] == result["mean_difference_low"] == result["mean_difference_high"] == 0.0


def test_paired_test_drops_undefined_and_counts():
    index = list("abc")
    result = paired_test(pd.Series([0.9, NAN, 0.7], index=index), pd.Series([0.8, 0.0, 0.6], index=index))
    assert (result["n"], result["n_dropped"]) == (2, 1)
    assert result["mean_difference"] == pytest.approx(0.1)


def test_paired_test_refuses_other_patients():
    dice_a, dice_b = pd.Series([0.9, 0.8], index=["p1", "p2"]), pd.Series([0.9, 0.8], index=["p1", "p3"])
    with pytest.raises(ValueError, match=r"dice_a lacks \['p3'\], dice_b lacks \['p2'\]"):
        paired_test(dice_a, dice_b)
    with pytest.raises(ValueError, match=r"dice_b holds twice: \['p1'\]"):
        paired_test(dice_a, pd.Series([0.9, 0.8], index=["p1", "p1"]))


def test_holm_by_hand():
    # sorted 0.01, 0.03, 0.04 times 3, 2, 1 is 0.03, 0.06, 0.04; the last rises to 0.06
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).shape == (0,)
