"""What choosing an epoch goes by, worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.data.cache import SliceCache
from metseg.validation import validate


class FakeModel:
    """Says for each image the probabilities that are hidden in its pixels."""

    def __init__(self, heads: int):
        self.heads = heads

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return images[..., : self.heads]


def fake_cache(masks: list, probabilities: list, patients: list[str]) -> SliceCache:
    who = {"case_id": patients, "patient_id": patients}
    slices = pd.DataFrame({**who, "lesion_px": [np.sum(mask) for mask in masks]})
    images = np.rint(np.array(probabilities, float) * 255).astype(np.uint8)
    return SliceCache(images, np.array(masks, bool), slices, "0")


def pixels(*values: float) -> np.ndarray:
    """A 1×4 slice whose three channels are all these values."""
    return np.repeat(np.array(values)[None, :, None], 3, axis=-1)


def test_validation_by_hand():
    masks = [[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 1]]]
    said = [pixels(0.8, 0.8, 0.8, 0.2), pixels(0.2, 0.2, 0.2, 0.2), pixels(0, 0, 0, 0), pixels(0, 0, 0, 1)]
    cache = fake_cache(masks, said, ["a", "a", "b", "c"])
    config = tiny_config("x", loss="bce", batch_size=1)
    # a over both its slices: 3 of reference, 3 predicted, 2 in both; b rightly left empty counts as 1.
    loss, dice = validate(FakeModel(1), cache, np.arange(4), config)
    assert dice == pytest.approx((2 * 2 / 6 + 1 + 1) / 3)
    right, wrong = -math.log(0.8), -math.log(0.2)
    first, second = (3 * right + wrong) / 4, (3 * right + wrong) / 4
    assert loss == pytest.approx((first + second + 0 + 0) / 4, abs=1e-5)
    # The batch size moves no Dice, though it may cut a patient in two.
    for size in (2, 3, 4):
        config = tiny_config("x", loss="bce", batch_size=size)
        assert validate(FakeModel(1), cache, np.arange(4), config)[1] == pytest.approx(dice)
    # Other rows, other patients.
    assert validate(FakeModel(1), cache, np.array([0]), config)[1] == pytest.approx(2 * 2 / 5)


def test_validation_on_half_the_side():
    # 2 × 2 px become one: a half and more of lesion is lesion, and the mean of the grey values is seen.
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, 1:] = True  # half of the first, all of the second
    said = np.zeros((4, 4, 3))
    said[:2, :2] = [[1.0], [0.4]]  # 0.7 in the mean, and nothing elsewhere
    cache = fake_cache(masks, [said], ["a"])
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x"), size=2)[1] == pytest.approx(2 / 3)
    assert (
        validate(FakeModel(1), cache, np.array([0]), tiny_config("x"))[1] == 0
    )  # 1 beside the mask, 0.4 in it


def test_validation_threshold_and_heads():
    # Heads say 0.2, 0.4 and 0.9 of each pixel: 0.5 on average.
    said = np.tile(np.array([51, 102, 230]) / 255, (1, 4, 1))
    cache = fake_cache([[[1, 1, 1, 1]]], [said], ["a"])
    for threshold, dice in ((0.5, 1.0), (0.6, 0.0)):
        config = tiny_config("x", threshold=threshold, loss="bce")
        loss, found = validate(FakeModel(3), cache, np.array([0]), config)
        assert found == dice
        assert loss == pytest.approx(-np.log(np.array([51, 102, 230]) / 255).mean(), rel=1e-5)
    # One head alone says 0.2 and finds nothing.
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x"))[1] == 0


def test_a_false_alarm_in_a_healthy_patient_counts_as_nothing_right():
    cache = fake_cache([[[0, 0, 0, 0]]], [pixels(0, 0, 0, 1)], ["a"])
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x"))[1] == 0
