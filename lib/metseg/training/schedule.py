"""How fast to learn, on what size, until when: functions of the history, so that resuming changes nothing."""

import math

import numpy as np

from metseg.training.config import Learning, TrainConfig


def size_of(epoch: int, config: TrainConfig) -> int:
    """Returns the side of the slices that an epoch sees, px (Tan & Le 2021, arXiv:2104.00298, section 4)."""
    size = config.preprocessing.image_size
    return size // 2 if epoch < config.learning.progressive_resizing else size


def best_epoch(history: list[dict], config: Learning) -> int:
    """Returns the place in a history of the best validation Dice among the epochs of the last one's size.

    Of several regions it is the mean over them: that of one, in few patients, is mostly that of their largest
    lesions. Of equal ones one that predicts anything is better than one that predicts nothing, and then the
    last.
    """
    first = _first_comparable(history, config)
    return max(
        range(first, len(history)),
        key=lambda k: (_mean_dice(history[k]), not history[k].get("predicts_nothing", False), k),
    )


def _mean_dice(row: dict) -> float:
    return float(np.mean([value for name, value in row.items() if name.startswith("val_dice")]))


def _first_comparable(history: list[dict], config: Learning) -> int:
    return config.progressive_resizing if len(history) > config.progressive_resizing else 0


def epochs_without_gain(history: list[dict], config: Learning) -> int:
    """Returns how many epochs have passed since the best validation Dice was first reached."""
    first = _first_comparable(history, config)
    dice = [*map(_mean_dice, history[first:])]
    return len(dice) - 1 - int(np.argmax(dice)) if dice else 0


def out_of_patience(history: list[dict], config: Learning) -> bool:
    """Returns whether a training is to stop before its last epoch."""
    coarse = len(history) <= config.progressive_resizing
    return config.patience > 0 and not coarse and epochs_without_gain(history, config) >= config.patience


def learning_rate_of(epoch: int, history: list[dict], config: Learning) -> float:
    """Returns an epoch's learning rate.

    Cosine: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, restarted at half the rate where the size
    changes.
    """
    if config.schedule == "cosine":
        coarse = config.progressive_resizing
        if epoch < coarse:
            return config.learning_rate * _cosine(epoch / coarse)
        first = config.learning_rate / 2 if coarse else config.learning_rate
        return first * _cosine((epoch - coarse) / (config.epochs - coarse))
    if config.schedule == "plateau":
        plateaus = sum(
            (waited := epochs_without_gain(history[: k + 1], config)) > 0 and waited % 5 == 0
            for k in range(len(history))
        )
        return config.learning_rate * 0.5**plateaus
    return config.learning_rate


def _cosine(done: float) -> float:
    """Falls from 1 to 0 as what is done of a phase goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * done))
