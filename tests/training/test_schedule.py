"""Learning rates and patience, by hand."""

import math

import pytest
from tiny_scans import tiny_config

from metseg.training.schedule import (
    best_epoch,
    epochs_without_gain,
    learning_rate_of,
    out_of_patience,
    size_of,
)


def history(*dice: float) -> list[dict]:
    return [{"val_dice": value} for value in dice]


WHOLE = tiny_config("x", epochs=9, patience=2)
SMALL_FIRST = tiny_config("x", epochs=9, patience=2, image_size=32, progressive_resizing=3)
CONFIG, COARSE = WHOLE.learning, SMALL_FIRST.learning


def test_epochs_without_gain():
    assert epochs_without_gain([], CONFIG) == 0
    assert epochs_without_gain(history(0.5), CONFIG) == 0
    assert epochs_without_gain(history(0.5, 0.5, 0.4), CONFIG) == 2
    assert epochs_without_gain(history(0.5, 0.4, 0.6), CONFIG) == 0
    assert epochs_without_gain(history(0.5, 0.4, 0.6, 0.1), CONFIG) == 1


def test_the_first_epochs_are_coarse():
    assert [size_of(epoch, SMALL_FIRST) for epoch in range(5)] == [16, 16, 16, 32, 32]
    assert size_of(0, WHOLE) == 32


@pytest.mark.parametrize(
    ("dice", "best", "stops"),
    [
        ((0.9,), 0, False),
        ((0.9, 0.1, 0.1), 0, False),  # coarse epochs are all gone through
        ((0.9, 0.1, 0.1, 0.2), 3, False),  # on another size a Dice says nothing
        ((0.9, 0.1, 0.1, 0.2, 0.1), 3, False),
        ((0.9, 0.1, 0.1, 0.2, 0.1, 0.1), 3, True),
        ((0.9, 0.1, 0.1, 0.2, 0.1, 0.3), 5, False),
    ],
)
def test_the_best_epoch_is_one_of_the_whole_size(dice, best, stops):
    assert best_epoch(history(*dice), COARSE) == best
    assert out_of_patience(history(*dice), COARSE) == stops


@pytest.mark.parametrize(
    ("dice", "nothing", "best"),
    [
        ((0.0, 0.0, 0.0), (), 2),  # all alike: the last has learned for longest
        ((0.0, 0.5, 0.5, 0.1), (), 2),
        ((0.0, 0.0, 0.0), (0, 1, 2), 2),
        ((0.0, 0.0, 0.0), (0, 2), 1),  # what predicts anything is better than what predicts nothing
        ((0.1, 0.0, 0.0), (1, 2), 0),
    ],
)
def test_of_equal_epochs_the_last_is_kept(dice, nothing, best):
    rows = [{**row, "predicts_nothing": k in nothing} for k, row in enumerate(history(*dice))]
    assert best_epoch(rows, CONFIG) == best
    if not nothing:
        assert best_epoch(history(*dice), CONFIG) == best  # a row older than that figure


def test_of_several_regions_their_mean_counts():
    rows = [{"val_dice": a, "val_dice_ET": b} for a, b in [(0.9, 0.1), (0.6, 0.6), (0.6, 0.5)]]
    assert best_epoch(rows, CONFIG) == 1
    assert epochs_without_gain(rows, CONFIG) == 1


def test_a_tie_is_no_gain():
    assert epochs_without_gain(history(0.0, 0.0, 0.0), CONFIG) == 2
    assert out_of_patience(history(0.0, 0.0, 0.0), CONFIG)
    assert learning_rate_of(6, history(*[0.0] * 6), tiny_config("x", schedule="plateau").learning) == 0.005


def test_the_cosine_begins_anew_on_the_whole_size():
    config = tiny_config("x", epochs=6, progressive_resizing=2, image_size=32, learning_rate=0.8).learning
    assert [learning_rate_of(epoch, [], config) for epoch in range(6)] == pytest.approx(
        [0.8, 0.4, 0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))]
    )


def test_learning_rates_by_hand():
    cosine = tiny_config("x", epochs=4, learning_rate=0.8, schedule="cosine").learning
    assert [learning_rate_of(epoch, [], cosine) for epoch in range(5)] == pytest.approx(
        [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5)), 0]
    )
    constant = tiny_config("x", learning_rate=0.8, schedule="constant").learning
    assert learning_rate_of(7, history(0.5, *[0.1] * 6), constant) == 0.8

    plateau = tiny_config("x", learning_rate=0.8, schedule="plateau").learning
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
