"""Learning rates and patience, by hand."""

import math

import pytest
from tiny_scans import tiny_config

from metseg.schedule import epochs_without_gain, learning_rate_of


def history(*dice: float) -> list[dict]:
    return [{"val_dice": value} for value in dice]


def test_epochs_without_gain():
    assert epochs_without_gain([]) == 0
    assert epochs_without_gain(history(0.5)) == 0
    assert epochs_without_gain(history(0.5, 0.5, 0.4)) == 2
    assert epochs_without_gain(history(0.5, 0.4, 0.6)) == 0
    assert epochs_without_gain(history(0.5, 0.4, 0.6, 0.1)) == 1


def test_learning_rates_by_hand():
    cosine = tiny_config("x", epochs=4, learning_rate=0.8, schedule="cosine")
    assert [learning_rate_of(epoch, [], cosine) for epoch in range(5)] == pytest.approx(
        [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5)), 0]
    )
    constant = tiny_config("x", learning_rate=0.8, schedule="constant")
    assert learning_rate_of(7, history(0.5, *[0.1] * 6), constant) == 0.8

    plateau = tiny_config("x", learning_rate=0.8, schedule="plateau")
    for dice, expected in (
        ([], 0.8),
        ([0.5, 0.1, 0.1, 0.1, 0.1], 0.8),  # four epochs without a gain
        ([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], 0.4),  # five
        ([0.5] * 6 + [0.4] * 4, 0.4),  # nine
        ([0.5] * 6 + [0.4] * 5, 0.2),  # ten
        ([0.5, *[0.1] * 5, 0.6], 0.4),  # a gain starts the count anew but does not give the rate back
        ([0.5, *[0.1] * 5, 0.6, *[0.1] * 4], 0.4),
        ([0.5, *[0.1] * 5, 0.6, *[0.1] * 5], 0.2),
    ):
        assert learning_rate_of(len(dice), history(*dice), plateau) == pytest.approx(expected), dice
