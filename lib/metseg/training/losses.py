"""Losses on logits, with one head or several, of one region or several.

All take `mask_ref` (B, H, W, T) in {0, 1} and `logits` (B, H, W, K·T), or both of volumes, whose sigmoid is
the probability of each of T regions by head 1, then by head 2, …: the loss of each of the K heads against
the same reference, averaged over heads (deep supervision: Zhou et al. 2018, section 3.2) and regions.
Overlaps are summed over the whole batch, so that an empty slice is no special case.
"""

from collections.abc import Callable

from metseg.base.backend import keras

_EPSILON = 1e-6
Loss = Callable[..., object]


def _float32(mask_ref, logits):
    """Returns both in float32 and of one shape: sums over a batch are beyond what bfloat16 can tell apart."""
    mask_ref, logits = (keras.ops.cast(tensor, "float32") for tensor in (mask_ref, logits))
    heads = logits.shape[-1] // mask_ref.shape[-1]
    return keras.ops.tile(mask_ref, (*(1,) * (len(logits.shape) - 1), heads)), logits


def _overlap(mask_ref, logits):
    """Returns soft true positives, false positives and false negatives of each head and region, (K·T,)."""
    mask_ref, logits = _float32(mask_ref, logits)
    prob_map, axes = keras.ops.sigmoid(logits), tuple(range(len(logits.shape) - 1))
    tp = keras.ops.sum(mask_ref * prob_map, axes)
    fp = keras.ops.sum((1 - mask_ref) * prob_map, axes)
    fn = keras.ops.sum(mask_ref * (1 - prob_map), axes)
    return tp, fp, fn


def bce(mask_ref, logits):
    """Binary cross-entropy, averaged over pixels."""
    return keras.ops.mean(keras.ops.binary_crossentropy(*_float32(mask_ref, logits), from_logits=True))


def focal(mask_ref, logits, *, gamma: float = 2.0, alpha: float = 0.25):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002, equation 5), averaged over pixels."""
    mask_ref, logits = _float32(mask_ref, logits)
    p_wrong = keras.ops.sigmoid((1 - 2 * mask_ref) * logits)  # 1 - p_t
    weight = mask_ref * alpha + (1 - mask_ref) * (1 - alpha)
    cross_entropy = keras.ops.binary_crossentropy(mask_ref, logits, from_logits=True)
    return keras.ops.mean(weight * p_wrong**gamma * cross_entropy)


def dice(mask_ref, logits, *, smooth: float = 1.0):
    """One minus soft Dice (Milletari et al. 2016, arXiv:1606.04797, section 3, without squares)."""
    tp, fp, fn = _overlap(mask_ref, logits)
    return 1 - keras.ops.mean((2 * tp + smooth) / (2 * tp + fp + fn + smooth))


def bce_slice_dice(mask_ref, logits, *, smooth: float = 1.0):
    """The sum of `bce` and one minus the soft Dice of each slice, or patch, alone, averaged.

    A slice with one small lesion counts as much as one with a large one, which a batch's sum drowns; in a
    slice without lesion all that is predicted counts, in pixels.
    """
    mask, prob_map = _float32(mask_ref, logits)
    prob_map, axes = keras.ops.sigmoid(prob_map), tuple(range(1, len(logits.shape) - 1))
    shared = 2 * keras.ops.sum(mask * prob_map, axes) + smooth
    overlap = shared / (keras.ops.sum(mask + prob_map, axes) + smooth)
    return bce(mask_ref, logits) + 1 - keras.ops.mean(overlap)


def bce_dice(mask_ref, logits):
    """The sum of `bce` and `dice` (for one class what Isensee et al. 2021, nnU-Net, take for several)."""
    return bce(mask_ref, logits) + dice(mask_ref, logits)


def focal_tversky(
    mask_ref, logits, *, alpha: float = 0.7, beta: float = 0.3, gamma: float = 0.75, smooth: float = 1.0
):
    """Focal Tversky loss (Abraham & Khan 2019, arXiv:1810.07842, equations 3 and 4).

    `alpha` weighs false negatives, `beta` false positives; `gamma` is their 1/γ with γ = 4/3.
    """
    tp, fp, fn = _overlap(mask_ref, logits)
    index = (tp + smooth) / (tp + alpha * fn + beta * fp + smooth)
    # The slope of a root is infinite at 0, which an empty batch rightly left empty reaches.
    return keras.ops.mean(keras.ops.maximum(1 - index, _EPSILON) ** gamma)


LOSSES: dict[str, Loss] = {
    "bce": bce,
    "focal": focal,
    "dice": dice,
    "bce_dice": bce_dice,
    "bce_slice_dice": bce_slice_dice,
    "focal_tversky": focal_tversky,
}
