"""Curves in words: over-fitting is told where there is some."""

import pandas as pd
import pytest

from metseg.training.history import describe_history


def history(val_loss, *, loss=None, dice=None, sizes=None, nothing=False) -> pd.DataFrame:
    n = len(val_loss)
    return pd.DataFrame(
        {
            "epoch": range(1, n + 1),
            "image_size": sizes or [128] * n,
            "loss": loss or [1 - k / 10 for k in range(n)],
            "val_loss": val_loss,
            "val_dice": dice or [k / 10 for k in range(n)],
            "predicts_nothing": nothing,
        }
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (history([0.9, 0.5, 0.6, 0.7, 0.8]), "lowest in epoch 2 and has risen by 60%"),
        (history([0.9, 0.8, 0.7, 0.6, 0.5]), "still falling"),
        (history([0.9, 0.50, 0.51, 0.52, 0.51]), "levelled off"),
        # the training loss did not fall either: no over-fitting
        (history([0.9, 0.5, 0.6, 0.7, 0.8], loss=[0.5, 0.4, 0.5, 0.5, 0.6]), "levelled off"),
        (history([0.5, 0.9, 0.9], sizes=[64, 128, 128]), "2 epochs of one size are too few"),
        (history([0.9] * 5, nothing=True), "predicts nothing"),
    ],
)
def test_what_the_curves_say(table, said):
    assert said in describe_history(table)


def test_the_epoch_that_was_kept_is_the_last_of_equal_ones():
    assert "epoch 3 of 4" in describe_history(history([0.5] * 4, dice=[0.1, 0.6, 0.6, 0.2]))


def test_of_epochs_without_dice_one_that_predicts_anything_was_kept():
    table = history([0.5] * 4, dice=[0.0] * 4, nothing=[True, False, True, True])
    assert describe_history(table).startswith("Kept: epoch 2 of 4, validation Dice 0.000. The validation")


def test_of_several_regions_their_mean_is_kept():
    table = history([0.5] * 4, dice=[0.9, 0.6, 0.6, 0.6]).assign(val_dice_ET=[0.1, 0.5, 0.6, 0.5])
    assert describe_history(table).startswith("Kept: epoch 3 of 4, validation Dice 0.600.")
