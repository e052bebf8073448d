"""Losses of 2 by 2 pixels, worked out by hand."""

import math

import numpy as np
import pytest
from keras import ops
from numpy import log

from metseg.training.losses import (
    LOSSES,
    bce,
    bce_dice,
    dice,
    focal,
    focal_tversky,
    lesion_dice,
)

# The lesion is one pixel: tp = 0.75, fp = 0.5 + 0.25 + 0.25 = 1, fn = 0.25.
MASK_REF = np.float32([[1, 0], [0, 0]]).reshape(1, 2, 2, 1)
PROB_MAP = np.float32([[0.75, 0.5], [0.25, 0.25]]).reshape(1, 2, 2, 1)
BCE = -(3 * log(0.75) + log(0.5)) / 4
# Terms alpha (1 - p_t)^2 (-ln p_t) with p_t = 0.75 in the lesion, and 0.5, 0.75, 0.75 outside.
FOCAL = -(0.25 * 0.25**2 * log(0.75) + 0.75 * (0.5**2 * log(0.5) + 2 * 0.25**2 * log(0.75))) / 4
DICE = 1 - (2 * 0.75 + 1) / (2 * 0.75 + 1 + 0.25 + 1)  # one third
FOCAL_TVERSKY = (1 - (0.75 + 1) / (0.75 + 0.7 * 0.25 + 0.3 * 1 + 1)) ** 0.75
BY_HAND = {"bce": BCE, "focal": FOCAL, "dice": DICE, "bce_dice": BCE + DICE, "focal_tversky": FOCAL_TVERSKY}
BY_HAND["bce_lesion_dice"] = BCE + DICE  # all lies in one window


SURE = 50.0  # a logit whose probability is 1 in float32


def logits_of(prob_map: np.ndarray) -> np.ndarray:
    """The logits of probabilities, ±SURE of those that are 0 or 1."""
    with np.errstate(divide="ignore"):
        return np.clip(log(prob_map) - log(1 - prob_map), -SURE, SURE).astype(np.float32)


def value(loss, mask_ref, prob_map, **options) -> float:
    return float(loss(ops.convert_to_tensor(mask_ref), ops.convert_to_tensor(logits_of(prob_map)), **options))


def slope(loss, mask_ref, logits) -> np.ndarray:
    """The gradient with respect to the logits."""
    tf = pytest.importorskip("tensorflow")
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        result = loss(tf.constant(mask_ref), variable)
    return tape.gradient(result, variable).numpy()


def test_every_loss_is_worked_out_here():
    assert BY_HAND.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_value_by_hand(name):
    assert value(LOSSES[name], MASK_REF, PROB_MAP) == pytest.approx(BY_HAND[name], rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_regions_are_averaged_and_each_head_is_held_against_its_own(name):
    # Of two heads the first says both regions right, the second calls each the other.
    regions = np.concatenate([MASK_REF, MASK_REF[:, ::-1, ::-1]], axis=-1)
    first = np.concatenate([PROB_MAP, PROB_MAP[:, ::-1, ::-1]], axis=-1)
    heads = np.concatenate([first, first[..., ::-1]], axis=-1)
    crossed = value(LOSSES[name], MASK_REF, PROB_MAP[:, ::-1, ::-1])
    assert value(LOSSES[name], regions, first) == pytest.approx(BY_HAND[name], rel=1e-5)
    assert value(LOSSES[name], regions, heads) == pytest.approx((BY_HAND[name] + crossed) / 2, rel=1e-5)


def test_the_numbers_of_the_hand_are_these():
    assert (
        pytest.approx(
            {
                "bce": 0.389048,
                "focal": 0.040358,
                "dice": 0.333333,
                "bce_dice": 0.722382,
                "focal_tversky": 0.314068,
                "bce_lesion_dice": 0.722382,
            },
            abs=1e-6,
        )
        == BY_HAND
    )


def test_options_by_hand():
    assert value(dice, MASK_REF, PROB_MAP, smooth=0.0) == pytest.approx(1 - 1.5 / 2.75)
    assert value(focal, MASK_REF, PROB_MAP, gamma=0.0, alpha=0.5) == pytest.approx(BCE / 2, rel=1e-5)
    tversky = 1 - (0.75 + 1) / (0.75 + 0.5 * 0.25 + 0.5 * 1 + 1)
    both = {"alpha": 0.5, "beta": 0.5, "gamma": 1.0}
    assert value(focal_tversky, MASK_REF, PROB_MAP, **both) == pytest.approx(tversky, rel=1e-5)


def test_focal_tversky_punishes_a_miss_more_than_a_false_alarm():
    half_missed = np.float32([[0.5, 0], [0, 0]]).reshape(1, 2, 2, 1)
    half_alarmed = np.float32([[1, 0.5], [0, 0]]).reshape(1, 2, 2, 1)
    missed, alarmed = (value(focal_tversky, MASK_REF, p, smooth=0.5) for p in (half_missed, half_alarmed))
    assert missed == pytest.approx((1 - 1 / 1.35) ** 0.75, rel=1e-5)  # tp 0.5, fn 0.5
    assert alarmed == pytest.approx((1 - 1.5 / 1.65) ** 0.75, rel=1e-5)  # tp 1, fp 0.5


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mask_ref", [MASK_REF, np.zeros_like(MASK_REF), np.ones_like(MASK_REF)])
def test_a_perfect_prediction_costs_nothing_and_its_opposite_costs_most(name, mask_ref):
    perfect = value(LOSSES[name], mask_ref, mask_ref)
    assert 0 <= perfect < 1e-4
    wrong = value(LOSSES[name], mask_ref, 1 - mask_ref)
    assert np.isfinite(wrong) and wrong > 0.5
    assert perfect < value(LOSSES[name], mask_ref, np.full_like(mask_ref, 0.5)) < wrong


def test_overlap_is_summed_over_the_batch_not_averaged_over_slices():
    # Slice one is empty with a false alarm of 0.5, slice two is the hand's: tp 0.75, fp 1.5, fn 0.25.
    alarm = np.float32([[0.5, 0], [0, 0]]).reshape(1, 2, 2, 1)
    mask_ref = np.concatenate([np.zeros_like(MASK_REF), MASK_REF])
    prob_map = np.concatenate([alarm, PROB_MAP])
    assert value(dice, mask_ref, prob_map) == pytest.approx(1 - 2.5 / (1.5 + 1.5 + 0.25 + 1), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_several_heads_cost_the_mean_of_each_alone(name):
    rng = np.random.default_rng(0)
    mask_ref = (rng.random((2, 4, 4, 1)) < 0.3).astype(np.float32)
    heads = rng.uniform(0.05, 0.95, (2, 4, 4, 3)).astype(np.float32)
    alone = [value(LOSSES[name], mask_ref, heads[..., k : k + 1]) for k in range(3)]
    assert np.ptp(alone) > 1e-3
    assert value(LOSSES[name], mask_ref, heads) == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mask_ref", [MASK_REF, np.zeros_like(MASK_REF), np.ones_like(MASK_REF)])
@pytest.mark.parametrize("certain", ["right", "wrong", "all lesion", "no lesion"])
def test_slopes_are_finite_where_a_probability_is_0_or_1(name, mask_ref, certain):
    prob_map = {
        "right": mask_ref,
        "wrong": 1 - mask_ref,
        "all lesion": np.ones_like(mask_ref),
        "no lesion": np.zeros_like(mask_ref),
    }[certain]
    assert np.isfinite(slope(LOSSES[name], mask_ref, logits_of(prob_map))).all()


@pytest.mark.parametrize("name", LOSSES)
def test_slopes_point_towards_the_reference(name):
    gradient = slope(LOSSES[name], MASK_REF, logits_of(PROB_MAP))
    assert (gradient[MASK_REF == 1] < 0).all()  # more probability in the lesion lowers the loss
    assert (gradient[MASK_REF == 0] > 0).all()


@pytest.mark.parametrize("logit", [20.0, 100.0, 1000.0])
def test_what_is_surely_wrong_is_still_learned_from(logit):
    """Their probabilities are 1 and 0 in float32; clipped, they would cost 13.8 each and have no slope."""
    mask_ref = np.float32([0, 1, 1, 0]).reshape(1, 2, 2, 1)
    logits = np.float32([logit, -logit, logit, -logit]).reshape(1, 2, 2, 1)
    assert float(bce(mask_ref, ops.convert_to_tensor(logits))) == pytest.approx(2 * logit / 4, rel=1e-6)
    np.testing.assert_allclose(slope(bce, mask_ref, logits).ravel(), [1 / 4, -1 / 4, 0, 0], atol=1e-8)
    # With p_t = 0 the focal loss is the cross-entropy, weighed by alpha.
    expected = (0.75 * logit + 0.25 * logit) / 4
    assert float(focal(mask_ref, ops.convert_to_tensor(logits))) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(slope(focal, mask_ref, logits).ravel(), [0.75 / 4, -0.25 / 4, 0, 0], atol=1e-6)


def test_what_is_surely_right_costs_as_much_as_it_should():
    """ln(1 + e^-12) = 6.144e-6 for a pixel of either kind, where 1 - p has lost half of its digits."""
    mask_ref = np.float32([1, 0]).reshape(1, 1, 2, 1)
    logits = ops.convert_to_tensor(np.float32([12, -12]).reshape(1, 1, 2, 1))
    assert float(bce(mask_ref, logits)) == pytest.approx(math.log1p(math.exp(-12)), rel=1e-5)


def test_the_slope_at_one_half():
    """A logit of 0 is where the formula's parts have no slope of their own: p - reference is ±1/2."""
    mask_ref = np.float32([0, 1]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(slope(bce, mask_ref, np.zeros_like(mask_ref)).ravel(), [0.25, -0.25])


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_logits_are_summed_in_float32(name):
    rng = np.random.default_rng(1)
    mask_ref = (rng.random((2, 64, 64, 1)) < 0.1).astype(np.float32)
    logits = ops.cast(rng.normal(0, 3, mask_ref.shape), "bfloat16")
    exact = float(LOSSES[name](mask_ref, ops.cast(logits, "float32")))
    result = LOSSES[name](ops.cast(mask_ref, "bfloat16"), logits)
    assert ops.dtype(result) == "float32"
    assert float(result) == pytest.approx(exact, rel=1e-6)


def test_a_sum_of_losses_is_the_sum():
    assert value(bce_dice, MASK_REF, PROB_MAP) == pytest.approx(
        value(bce, MASK_REF, PROB_MAP) + value(dice, MASK_REF, PROB_MAP)
    )


def small_and_large() -> tuple[np.ndarray, np.ndarray]:
    """A lesion of 4 pixels and one of 64, each within the windows that it touches."""
    small, large = np.zeros((2, 1, 64, 64, 1), np.float32)
    small[0, 10:12, 10:12], large[0, 40:48, 40:48] = 1, 1
    return small, large


def test_a_small_lesion_counts_as_much_as_a_large_one():
    small, large = small_and_large()
    # Missed: Dice (0 + 1) / (4 + 1) and (0 + 1) / (64 + 1); found: 1.
    assert value(lesion_dice, small + large, large) == pytest.approx((1 - 1 / 5) / 2, rel=1e-4)
    assert value(lesion_dice, small + large, small) == pytest.approx((1 - 1 / 65) / 2, rel=1e-4)
    assert value(dice, small + large, large) == pytest.approx(4 / 133, rel=1e-4)  # as it is without it


def test_a_lesion_beyond_a_square_counts_as_many_squares():
    small, _ = small_and_large()
    huge = np.zeros_like(small)
    huge[0, 28:, 28:] = 1  # 36 by 36; squares of 5 by 5 in it are full, but for its edge
    weight = sum(
        1 / ((min(y, 2) + 3 if y < 33 else 38 - y) * (min(x, 2) + 3 if x < 33 else 38 - x))
        for y in range(36)
        for x in range(36)
    )
    found = value(lesion_dice, small + huge, huge, nearby=5)
    assert found == pytest.approx(
        (1 - 1 / 5) / (1 + weight), rel=0.05
    )  # windows at the image's edge are fewer


def test_an_invented_lesion_costs_what_a_missed_one_does():
    small, large = small_and_large()
    # Found: 1. Invented: (0 + 1) / (64 + 1), and (0 + 1) / (4 + 1).
    assert value(lesion_dice, small, small + large) == pytest.approx((1 - 1 / 65) / 2, rel=1e-4)
    assert value(lesion_dice, large, small + large) == pytest.approx((1 - 1 / 5) / 2, rel=1e-4)
    assert value(lesion_dice, small * 0, large) == pytest.approx(1 - 1 / 65, rel=1e-4)
    assert value(lesion_dice, small * 0, small * 0) == pytest.approx(0, abs=1e-6)


def test_lesion_dice_of_volumes_takes_cubes():
    small, large = (np.repeat(each[:, None], 64, axis=1) for each in small_and_large())
    for each, extent in ((small, (26, 28)), (large, (24, 32))):
        each[:, : extent[0]], each[:, extent[1] :] = 0, 0
    assert value(lesion_dice, small + large, large) == pytest.approx((1 - 1 / 9) / 2, rel=1e-4)
