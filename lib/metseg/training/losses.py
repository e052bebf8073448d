"""Losses on logits, with one head or several, of one region or several.

All take `mask_ref` (B, H, W, T) in {0, 1} and `logits` (B, H, W, K·T), or both of volumes, whose sigmoid is
the probability of each of T regions by head 1, then by head 2, …: the loss of each of the K heads against
the same reference, averaged over heads (deep supervision: Zhou et al. 2018, section 3.2) and regions.
Overlaps are summed over the whole batch, so that an empty slice is no special case; `lesion_dice` alone
looks closer.
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


def lesion_dice(mask_ref, logits, *, window: int = 16, nearby: int = 33, smooth: float = 1.0):
    """One minus soft Dice in windows, averaged over lesions, real and invented, small ones like large ones.

    Windows of `window` pixels a side overlap by half. Each weighs as much as the pixels in it that are lesion
    or predicted as such, and these weigh 1 / (such pixels around them, within a square of `nearby`): a lesion
    within such a square weighs as one, a larger one as many as squares fit into it.

    Reference:
        The aim is that of blob loss (Kofler et al. 2023, IPMI, arXiv:2205.08209, equation 3). Windows, which
        need no components of a batch, are our own, and so is that an invented lesion costs what a missed one
        does, as in the lesion-wise Dice of BraTS-METS: without it networks marked hundreds in a scan.
    """
    mask_ref, logits = _float32(mask_ref, logits)
    prob_map = keras.ops.sigmoid(logits)
    either = keras.ops.maximum(mask_ref, keras.ops.cast(logits >= 0, "float32"))
    weight = either / keras.ops.maximum(_sums(either, nearby, stride=1), 1.0)
    per_window = (mask_ref * prob_map, mask_ref, prob_map, weight)
    tp, ref, pred, weight = (_sums(each, window, stride=window // 2) for each in per_window)
    axes = tuple(range(len(logits.shape) - 1))
    missed = 1 - (2 * tp + smooth) / (ref + pred + smooth)
    return keras.ops.mean(keras.ops.sum(weight * missed, axes) / (keras.ops.sum(weight, axes) + _EPSILON))


def _sums(tensor, side: int, *, stride: int):
    """Returns the sums over squares, or cubes, of a side in pixels, every `stride` pixels; by one axis after
    the other, which costs less."""
    rank = len(tensor.shape) - 2
    for axis in range(rank):
        sides, strides = ([n if k == axis else 1 for k in range(rank)] for n in (side, stride))
        edge = [(side // 2, side // 2) if k == axis else (0, 0) for k in range(rank)]
        tensor = keras.ops.pad(tensor, [(0, 0), *edge, (0, 0)])
        tensor = side * keras.ops.average_pool(tensor, sides, strides)
    return tensor


def bce_lesion_dice(mask_ref, logits):
    """The sum of `bce` and `lesion_dice`."""
    return bce(mask_ref, logits) + lesion_dice(mask_ref, logits)


LOSSES: dict[str, Loss] = {
    "bce": bce,
    "focal": focal,
    "dice": dice,
    "bce_dice": bce_dice,
    "focal_tversky": focal_tversky,
    "bce_lesion_dice": bce_lesion_dice,
}
