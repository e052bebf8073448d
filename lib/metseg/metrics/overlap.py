"""Overlap of one reference and one prediction.

What an empty mask scores is an argument (`empty`): the literature disagrees, and the choice moves the result.
Losing a rightly predicted voxel never improves a score. Functions of masks take bool arrays of one shape,
(H, W) or (Z, H, W), and raise `TypeError` for another dtype and `ValueError` for two shapes.
"""

import numpy as np


def dice_from_counts(ref, pred, tp, *, empty: float):
    """Returns Dice from voxel counts, elementwise: 2 tp / (ref + pred), a float64 array of their shape.

    Args:
        ref, pred, tp: voxels of the reference, of the prediction, and in both; numbers or arrays.
        empty: the value where reference and prediction are both empty: 1.0, 0.0 or nan.

    Reference:
        Taha & Hanbury (2015), Metrics for evaluating 3D medical image segmentation, BMC Med. Imaging 15:29,
        section Overlap based metrics (DICE).
    """
    total = np.asarray(ref, dtype=float) + np.asarray(pred, dtype=float)
    both = 2 * np.asarray(tp, dtype=float)
    return np.divide(both, total, out=np.full(total.shape, float(empty)), where=total > 0)


def false_alarm_worth(ref, pred) -> np.ndarray:
    """What the false alarm in each patient without a lesion is worth, beside the patients with one.

    It is fp / (fp + m) with m the mean voxels of the lesions of a patient who has any: 0 for no voxel, 1/2
    for as many as such a patient has, never more than 1; so that a speck does not count as a whole lesion.

    Args:
        ref, pred: voxels of the reference and of the prediction by patient, (N,).

    Returns:
        (M,) float64, of the patients whose reference is empty, in order.
    """
    ref, pred = np.asarray(ref, dtype=float), np.asarray(pred, dtype=float)
    mean, false = (ref[ref > 0].mean() if (ref > 0).any() else 0.0), pred[ref == 0]
    return np.divide(false, false + mean, out=np.zeros(len(false)), where=false > 0)


def lesion_dice(ref, pred, tp) -> float:
    """Returns the mean volume Dice of the patients with a lesion, lowered by false alarms in those without.

    Σ dice / (n + Σ fp / (fp + m)): a sum over the n patients with a lesion, each false alarm's worth
    (`false_alarm_worth`) in the denominator. A patient without a lesion who is rightly left empty changes
    nothing, so that predicting nothing scores 0, whoever the patients are. Where all have a lesion it is the
    mean Dice; where none has, nan. The definition is this project's own.

    Args:
        ref, pred, tp: voxels of the reference, of the prediction, and in both, by patient, (N,).
    """
    ref, pred, tp = (np.asarray(each, dtype=float) for each in (ref, pred, tp))
    has = ref > 0
    if not has.any():
        return float("nan")
    scores = dice_from_counts(ref[has], pred[has], tp[has], empty=0.0)
    return float(scores.sum() / (has.sum() + false_alarm_worth(ref, pred).sum()))


def dice(mask_ref: np.ndarray, mask_pred: np.ndarray, *, empty: float) -> float:
    """Returns the Dice coefficient of two masks: `empty` when both are empty, 0 when exactly one is."""
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    return float(dice_from_counts(mask_ref.sum(), mask_pred.sum(), (mask_ref & mask_pred).sum(), empty=empty))


def lesion_f1(*, found: int, missed: int, false_positives: int) -> float:
    """Returns 2·found / (2·found + missed + false positives); nan where there is no lesion of either kind.

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded: F1 score for object detection.
    """
    of = 2 * found + missed + false_positives
    return 2 * found / of if of else float("nan")


def checked_pair(mask_ref, mask_pred) -> tuple[np.ndarray, np.ndarray]:
    """Returns both masks as arrays; raises unless they are bool and of one shape."""
    mask_ref, mask_pred = np.asarray(mask_ref), np.asarray(mask_pred)
    for name, mask in (("mask_ref", mask_ref), ("mask_pred", mask_pred)):
        if mask.dtype != bool:
            raise TypeError(f"{name} is {mask.dtype}, not bool; threshold it first, for example mask > 0")
    if mask_ref.shape != mask_pred.shape:
        shapes = f"mask_ref is {mask_ref.shape} but mask_pred is {mask_pred.shape}"
        raise ValueError(f"{shapes}; bring both to one grid")
    return mask_ref, mask_pred
