"""How fast to learn and when to stop, as pure functions of the history, so that resuming changes nothing."""

import math

import numpy as np

from metseg.config import TrainConfig


def epochs_without_gain(history: list[dict]) -> int:
    """Returns how many epochs have passed since the best validation Dice."""
    dice = [row["val_dice"] for row in history]
    return len(dice) - 1 - int(np.argmax(dice)) if dice else 0


def out_of_patience(history: list[dict], patience: int) -> bool:
    return patience > 0 and epochs_without_gain(history) >= patience


def learning_rate_of(epoch: int, history: list[dict], config: TrainConfig) -> float:
    """Returns an epoch's learning rate from what came before it alone, so that resuming changes nothing.

    Cosine: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5 without restarts.
    """
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    if config.schedule == "plateau":
        plateaus = sum(
            (waited := epochs_without_gain(history[: k + 1])) > 0 and waited % 5 == 0
            for k in range(len(history))
        )
        return config.learning_rate * 0.5**plateaus
    return config.learning_rate
