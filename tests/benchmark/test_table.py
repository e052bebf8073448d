"""Medians, ratios, shares of the limit and exponents, by hand."""

import numpy as np
import pandas as pd
import pytest

from metseg.benchmark.plan import Measurement
from metseg.benchmark.table import measured_limits, results_table, scaling_table

LIMITS = {"float32": 100, "bfloat16": 200}


def test_limits_are_the_best_that_was_seen(limits_group):
    assert measured_limits(*limits_group) == pytest.approx(LIMITS)


def test_training_by_hand(training_group):
    table = results_table({"training-nested_unet": training_group}, LIMITS).set_index("contestant")
    assert set(table.unit) == {"images/s"}
    # 8 images in 1 s; in 2 and 4 s, whose median is 3 s and whose quartiles are 2.5 and 3.5 s
    assert table.loc["metseg", ["q25", "median", "q75"]].tolist() == [8, 8, 8]
    assert table.loc["keras", ["q25", "median", "q75"]].tolist() == pytest.approx([8 / 3.5, 8 / 3, 8 / 2.5])
    # ratios of the rounds are 1/2 and 1/4: median 3/8, quartiles 5/16 and 7/16
    columns = ["ratio_low", "ratio_to_metseg", "ratio_high"]
    assert table.loc["keras", columns].tolist() == pytest.approx([5 / 16, 3 / 8, 7 / 16])
    assert table.loc["monai bfloat16 channels_last", "ratio_to_metseg"] == pytest.approx(2)
    assert table.loc["metseg", "ratio_to_metseg"] == 1
    # three times 1 GFLOP an image, 24 a step
    assert table.gflops.tolist() == pytest.approx([24, 8, 48])
    assert table.fraction_of_limit.tolist() == pytest.approx([0.24, 0.08, 0.24])
    assert table.peak_memory_mb.tolist() == [101, 101, 101]
    assert table.steps.tolist() == [2, 2, 2]


@pytest.mark.parametrize(("batch", "unit", "value"), [(1, "ms", 250), (8, "images/s", 32)])
def test_units_of_inference(measured, batch, unit, value):
    alone = Measurement("metseg", "inference", "unet", size=64, batch=batch, precision="int8")
    (row,) = results_table({"alone": measured([alone], [[0.25]])}, LIMITS).itertuples()
    assert (row.unit, row.median) == (unit, value)
    assert np.isnan(row.ratio_to_metseg)  # nobody to hold it against


def test_a_step_that_is_proportional_to_its_pixels(scaling_group, training_group):
    results = results_table(
        {"training-nested_unet": training_group, "scaling-training-nested_unet": scaling_group}, LIMITS
    )
    (row,) = scaling_table(results).itertuples()
    assert (row.task, row.network, row.points) == ("training", "nested_unet", 2)
    assert row.exponent == pytest.approx(1)
    assert np.isnan(row.standard_error)  # of two points
    assert scaling_table(results[results.group == "training-nested_unet"]).empty


def test_standard_error_of_an_exponent_by_hand():
    # Logarithms of pixels 0, 1, 2 and of times 0, 1, 0: residuals -1/3, 2/3, -1/3; sqrt(6/9 / 1 / 2)
    sides, times = np.exp([0, 0.5, 1]), np.exp([0.0, 1.0, 0.0])
    curve = pd.DataFrame({"size": sides, "median": times}).assign(
        task="inference", network="unet", group="scaling-inference-unet"
    )
    (row,) = scaling_table(curve).itertuples()
    assert (row.exponent, row.standard_error) == pytest.approx((0, np.sqrt(1 / 3)))
