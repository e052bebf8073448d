"""Medians, ratios and shares of the limit, by hand."""

import numpy as np
import pytest

from metseg.benchmark.plan import Group, Measurement
from metseg.benchmark.table import Limits, measured_limits, profile_table, results_table


def test_limits_are_the_best_that_was_seen(limits_group):
    limits = measured_limits(*limits_group)
    assert limits.gflops == pytest.approx({"float32": 100, "bfloat16": 200})
    assert limits.gb_per_s == pytest.approx(12)


def test_training_by_hand(training_group):
    table = results_table([training_group], Limits({"float32": 100, "bfloat16": 200}, 12))
    table = table.set_index("contestant")
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
    assert table.gflop_per_image.tolist() == [3, 3, 3]
    assert table.gflops.tolist() == pytest.approx([24, 8, 48])
    assert table.fraction_of_limit.tolist() == pytest.approx([0.24, 0.08, 0.24])
    assert table.peak_memory_mb.tolist() == [101, 101, 101]
    assert table["rounds"].tolist() == table.steps.tolist() == [2, 2, 2]


def test_profile_by_hand(profile_group):
    table = profile_table(*profile_group, Limits({"float32": 100}, 12)).set_index("kind")
    assert table.index.tolist() == ["convolution", "copies"]
    assert table.share.tolist() == pytest.approx([0.625, 0.375])
    assert table.ms.tolist() == pytest.approx([625, 375])
    convolution = table.loc["convolution"]
    assert convolution.gflops == pytest.approx(24 / 0.625)  # three times 1 GFLOP, 8 images
    assert convolution.fraction_of_limit == pytest.approx(0.384)
    assert convolution.faster_alone == pytest.approx(1.6)
    assert np.isnan(table.loc["copies", "gflops"])


@pytest.mark.parametrize(
    ("task", "batch", "unit", "value"),
    [
        ("inference", 1, "ms", 250),
        ("inference", 8, "images/s", 32),
        ("open", 1, "s", 0.25),
        ("read", 8, "ms", 250),
    ],
)
def test_units(task, batch, unit, value):
    measurement = Measurement(
        "metseg", task, network="unet" if task == "inference" else "", size=64, batch=batch
    )
    turn = {"seconds": [0.25], "other_cores": 0.0, "peak_mb": 1.0}
    ready = {"precision": "float32", "threads": 1, "flop": 10**9, "elements": 10**6, "weights": 10}
    found = {"ready": {measurement.key: ready}, "rounds": [{measurement.key: turn}]}
    (row,) = results_table(
        [(Group("alone", (measurement,)), found)], Limits({"float32": 100}, 10)
    ).itertuples()
    assert (row.unit, row.median) == (unit, value)
    assert np.isnan(row.ratio_to_metseg)  # nobody to hold it against
