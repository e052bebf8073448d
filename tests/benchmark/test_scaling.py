"""Exponents of exact power laws."""

import numpy as np
import pytest

from metseg.benchmark.scaling import fitted_exponent, scaling_table
from metseg.benchmark.table import Limits, results_table


@pytest.mark.parametrize("exponent", [-0.5, 0, 1, 1.7])
def test_an_exact_power_law(exponent):
    sizes = np.array([100, 1000, 10_000, 100_000])
    assert fitted_exponent(sizes, 3.2 * sizes**exponent) == pytest.approx((exponent, 0), abs=1e-12)


def test_standard_error_by_hand():
    # Logarithms (0, 0), (1, 1), (2, 0): slope 0, residuals -1/3, 2/3, -1/3; sqrt(6/9 / 1 / 2)
    assert fitted_exponent(np.exp([0, 1, 2]), np.exp([0, 1, 0])) == pytest.approx((0, np.sqrt(1 / 3)))
    assert fitted_exponent([1, np.e], [1, np.e]) == pytest.approx((1, np.nan), nan_ok=True)


def test_a_step_that_is_proportional_to_its_pixels(scaling_group, training_group):
    results = results_table([training_group, scaling_group], Limits({"float32": 100, "bfloat16": 200}, 12))
    (row,) = scaling_table(results).itertuples()
    assert (row.task, row.network, row.over, row.points) == ("training", "nested_unet", "pixels", 2)
    assert row.exponent == pytest.approx(1)
    assert np.isnan(row.standard_error)  # of two points
    assert scaling_table(results[results.group == "training-nested_unet"]).empty
