"""What choosing an epoch goes by, worked out by hand."""

import dataclasses
import math

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.training.batches import EpochBatches, drawn_rows
from metseg.training.cache import SliceCache
from metseg.training.devices import shared_out
from metseg.training.losses import LOSSES
from metseg.training.validation import validate


class FakeModel:
    """Says for each image the logits of the probabilities that are hidden in its pixels."""

    def __init__(self, heads: int):
        self.heads = heads

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        p = np.clip(images[..., : self.heads], 1e-6, 1 - 1e-6)
        return np.log(p / (1 - p))


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
    config = tiny_config("x", loss="bce", batch_size=1, balance_empty=False)
    # a over both its slices: 3 of reference, 3 predicted, 2 in both; b, rightly left empty, does not count.
    loss, dice, predicts_nothing, others = validate(FakeModel(1), cache, np.arange(4), config.learning)
    assert others == ()
    assert dice == pytest.approx((2 * 2 / 6 + 1) / 2) and not predicts_nothing
    right, wrong = -math.log(0.8), -math.log(0.2)
    first, second = (3 * right + wrong) / 4, (3 * right + wrong) / 4
    assert loss == pytest.approx((first + second + 0 + 0) / 4, abs=1e-5)
    # The batch size moves no Dice, though it may cut a patient in two.
    for size in (2, 3, 4):
        config = tiny_config("x", loss="bce", batch_size=size)
        assert validate(FakeModel(1), cache, np.arange(4), config.learning).dice == pytest.approx(dice)
    # Other rows, other patients.
    assert validate(FakeModel(1), cache, np.array([0]), config.learning).dice == pytest.approx(2 * 2 / 5)


def test_validation_on_half_the_side():
    # 2 × 2 px become one: a half and more of lesion is lesion, and the mean of the grey values is seen.
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, 1:] = True  # half of the first, all of the second
    said = np.zeros((4, 4, 3))
    said[:2, :2] = [[1.0], [0.4]]  # 0.7 in the mean, and nothing elsewhere
    cache = fake_cache(masks, [said], ["a"])
    halved = validate(FakeModel(1), cache, np.array([0]), tiny_config("x").learning, size=2)
    assert halved.dice == pytest.approx(2 / 3)
    # 1 beside the mask, 0.4 in it: wrong, but not nothing.
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x").learning)[1:3] == (0, False)


def test_a_lesion_too_small_for_half_the_side():
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 0] = True
    cache = fake_cache(masks, np.ones((1, 4, 4, 3)), ["a"])
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x").learning, size=2).dice == 0
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x").learning).dice == pytest.approx(
        2 / 17
    )


def test_validation_threshold_and_heads():
    # Heads say 0.2, 0.4 and 0.9 of each pixel: 0.5 on average.
    said = np.tile(np.array([51, 102, 230]) / 255, (1, 4, 1))
    cache = fake_cache([[[1, 1, 1, 1]]], [said], ["a"])
    for threshold, dice in ((0.5, 1.0), (0.6, 0.0)):
        config = tiny_config("x", threshold=threshold, loss="bce")
        loss, found, predicts_nothing, _ = validate(FakeModel(3), cache, np.array([0]), config.learning)
        assert found == dice and predicts_nothing == (dice == 0)
        assert loss == pytest.approx(-np.log(np.array([51, 102, 230]) / 255).mean(), rel=1e-5)
    # One head alone says 0.2 and finds nothing.
    assert validate(FakeModel(1), cache, np.array([0]), tiny_config("x").learning)[1:3] == (0, True)


def test_the_main_region_chooses_and_the_others_are_told():
    # Two heads of two regions on 4 px; the means over heads are those of the comments.
    main, other = [1, 1, 0, 0], [1, 1, 1, 0]
    said = np.stack(
        [[0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.9], [0.3, 0.9, 0.1, 0.1], [0.9, 0.3, 0.1, 0.9]], -1
    )
    # main: 0.6, 0.9, 0.1, 0.1 are right; other: 0.9, 0.2, 0.1, 0.9 has one of three, and one that is none.
    cache = fake_cache([[main]], [said[None]], ["a"])
    both = dataclasses.replace(cache, masks=np.array([main, other], bool).T[None, None])
    found = validate(FakeModel(4), both, np.array([0]), tiny_config("x", loss="bce").learning)
    assert (found.dice, found.predicts_nothing) == (1, False)
    assert found.others == pytest.approx((2 / 5,))
    right, wrong, third = -math.log(0.9), -math.log(0.1), -math.log(0.3)
    by_hand = (4 * right) + (right + 3 * wrong) + (third + 3 * right) + (right + third + 2 * wrong)
    assert found.loss == pytest.approx(by_hand / 16, rel=5e-3)  # hidden in 256 grey values


def test_whoever_has_no_lesion_can_only_lower_the_dice():
    """a has 2 px of lesion and all of them are found; b has none."""
    masks, config = [[[1, 1, 0, 0]], [[0, 0, 0, 0]]], tiny_config("x")
    for alarm, dice in (((0, 0, 0, 0), 1), ((0, 0, 1, 1), 1 / 1.5), ((1, 1, 1, 1), 1 / (1 + 4 / 6))):
        cache = fake_cache(masks, [pixels(1, 1, 0, 0), pixels(*alarm)], ["a", "b"])
        assert validate(FakeModel(1), cache, np.arange(2), config.learning).dice == pytest.approx(dice)
    # What predicts in b alone finds nothing of any lesion.
    cache = fake_cache(masks, [pixels(0, 0, 0, 0), pixels(1, 1, 1, 1)], ["a", "b"])
    assert validate(FakeModel(1), cache, np.arange(2), config.learning)[1:3] == (0, True)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"exclude_empty": True},
        {"exclude_empty": False, "balance_empty": True},
        {"exclude_empty": False, "balance_empty": False},
        {"loss": "bce_dice", "batch_size": 20, "exclude_empty": False},  # an overlap depends on its batch
    ],
)
def test_the_loss_is_what_fit_reports_of_the_same_slices(heads, changes):
    """A constant network, for which nothing but the choice of slices and the averaging is left."""
    config = tiny_config("x", **{"loss": "bce", "batch_size": 3, "augment": False, **changes})
    masks = np.zeros((20, 4, 4), bool)
    for k in range(7):  # 7 of 20 slices have a lesion, of 1 to 7 px
        masks[k].flat[: k + 1] = True
    cache = fake_cache(masks, np.zeros((20, 4, 4, 3)), ["a"] * 8 + ["b"] * 12)
    bias = keras.initializers.Constant(-1.0)
    layer = keras.layers.Conv2D(heads, 1, kernel_initializer="zeros", bias_initializer=bias)
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    model.compile(keras.optimizers.SGD(0.0), shared_out(LOSSES[config.learning.loss]))
    learning = config.learning
    chosen = learning.exclude_empty, learning.balance_empty
    drawn = drawn_rows(cache, np.arange(20), learning, epoch=0)
    options = {"batch_size": learning.batch_size, "augmentation": None, "seed": learning.seed, "epoch": 0}
    batches = EpochBatches(cache, drawn, **options)
    fitted = model.fit(batches.prepared_ahead(), shuffle=False, verbose=0).history["loss"][-1]
    assert validate(model, cache, np.arange(20), config.learning).loss == pytest.approx(fitted, rel=1e-5)
    assert len(drawn) == {(True, True): 7, (False, True): 14, (False, False): 20}[chosen]


@pytest.mark.parametrize(("patients", "each"), [(2, 999), (20, 96)])
def test_of_very_many_slices_some_are_seen_evenly_spaced(patients, each):
    """Every ninth of a patient with 999, every fourth of 1,920 in all; only these say the lesion."""
    step = {999: 9, 96: 4}[each]
    says = [pixels(1, 0, 0, 0)] + [pixels(1, 1, 0, 0)] * (step - 1)
    masks, said = [[[1, 0, 0, 0]]] * (patients * each), says * (patients * each // step)
    cache = fake_cache(masks, said, [f"{k:02d}" for k in range(patients) for _ in range(each)])
    config = tiny_config("x", loss="bce", batch_size=50)
    found = validate(FakeModel(1), cache, np.arange(patients * each), config.learning)
    assert found.dice == pytest.approx(1)
