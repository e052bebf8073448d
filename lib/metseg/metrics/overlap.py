"""Masks in, numbers out: overlap, surface distance and lesion counts of one reference and one prediction.

Two rules hold throughout. What an empty mask scores is an argument (`empty`), because the literature
disagrees and the choice moves the result. Losing a rightly predicted voxel never improves an overlap score or
a lesion count of `evaluate_case`, and a complete miss is the worst distance there is.

Every function of masks takes boolean arrays of one shape, 2D (H, W) or 3D (Z, H, W), and raises `TypeError`
for another dtype and `ValueError` for two shapes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage, spatial

from metseg.masks.components import label_lesions


@dataclass(frozen=True)
class LesionCounts:
    """How many lesions a scan has, how many of them were found, and how many were invented.

    Attributes:
        reference: lesions (connected components) of the reference.
        detected: reference lesions that the prediction overlaps.
        false_positive: predicted components that overlap no reference lesion.
    """

    reference: int
    detected: int
    false_positive: int


def dice_from_counts(ref, pred, tp, *, empty: float):
    """Dice from voxel counts, elementwise: 2 tp / (ref + pred).

    Args:
        ref: voxels of the reference, a number or an array.
        pred: voxels of the prediction, same shape.
        tp: voxels in both, same shape.
        empty: the value where reference and prediction are both empty: 1.0, 0.0 or nan.

    Returns:
        Dice in [0, 1] or `empty`: float64 array of the inputs' shape (0-d for numbers).

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
        ref: voxels of the reference by patient, (N,).
        pred: voxels of the prediction, (N,).

    Returns:
        (M,) float64, of the patients whose reference is empty, in order.
    """
    ref, pred = np.asarray(ref, dtype=float), np.asarray(pred, dtype=float)
    mean, false = (ref[ref > 0].mean() if (ref > 0).any() else 0.0), pred[ref == 0]
    return np.divide(false, false + mean, out=np.zeros(len(false)), where=false > 0)


def lesion_dice(ref, pred, tp) -> float:
    """Mean volume Dice of the patients with a lesion, lowered by false alarms in those without.

    Σ dice / (n + Σ fp / (fp + m)): a sum over the n patients with a lesion, each false alarm's worth
    (`false_alarm_worth`) in the denominator. A patient without a lesion who is rightly left empty changes
    nothing, so that predicting nothing scores 0, whoever the patients are; with "empty = 1" it would score
    their share. Where all have a lesion it is the mean Dice. The definition is this project's own.

    Args:
        ref: voxels of the reference by patient, (N,).
        pred: voxels of the prediction, (N,).
        tp: voxels in both, (N,).

    Returns:
        A number in [0, 1]; nan if no patient has a lesion.
    """
    ref, pred, tp = (np.asarray(each, dtype=float) for each in (ref, pred, tp))
    has = ref > 0
    if not has.any():
        return float("nan")
    scores = dice_from_counts(ref[has], pred[has], tp[has], empty=0.0)
    return float(scores.sum() / (has.sum() + false_alarm_worth(ref, pred).sum()))


def dice(mask_ref: np.ndarray, mask_pred: np.ndarray, *, empty: float) -> float:
    """Dice coefficient of two masks; 0 when exactly one of them is empty.

    Args:
        mask_ref: reference, bool, any shape.
        mask_pred: prediction, bool, same shape.
        empty: the value when both masks are empty: 1.0, 0.0 or nan.

    Returns:
        Dice in [0, 1], or `empty`.

    Reference:
        Taha & Hanbury (2015), section Overlap based metrics (DICE).
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    return float(dice_from_counts(mask_ref.sum(), mask_pred.sum(), (mask_ref & mask_pred).sum(), empty=empty))


def precision(mask_ref: np.ndarray, mask_pred: np.ndarray, *, empty: float) -> float:
    """Share of the predicted voxels that are right: tp / pred.

    Args:
        mask_ref: reference, bool, any shape.
        mask_pred: prediction, bool, same shape.
        empty: the value when the prediction is empty, where the ratio is undefined. nan or 1.0 would
            spare a prediction that misses everything, so `evaluate_case` passes 0.0 where there is tumour.

    Returns:
        Precision in [0, 1], or `empty`.

    Reference:
        Taha & Hanbury (2015), section Overlap based metrics (PPV).
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    pred = mask_pred.sum()
    return float((mask_ref & mask_pred).sum() / pred) if pred else float(empty)


def recall(mask_ref: np.ndarray, mask_pred: np.ndarray, *, empty: float) -> float:
    """Share of the reference voxels that were found: tp / ref.

    Args:
        mask_ref: reference, bool, any shape.
        mask_pred: prediction, bool, same shape.
        empty: the value when the reference is empty, where the ratio is undefined.

    Returns:
        Recall in [0, 1], or `empty`.

    Reference:
        Taha & Hanbury (2015), section Overlap based metrics (TPR).
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    ref = mask_ref.sum()
    return float((mask_ref & mask_pred).sum() / ref) if ref else float(empty)


def hd95(mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing: tuple[float, ...]) -> float:
    """95th percentile symmetric Hausdorff distance between the two surfaces.

    The surface of a mask is its voxels with at least one background neighbour across a face (6 neighbours in
    3D, 4 in 2D); beyond the array's edge counts as background. Every surface voxel's centre gets its distance
    to the nearest surface voxel of the other mask; of each direction the 95th percentile (linear
    interpolation, every surface voxel weighing the same) is taken, and the larger of the two is the result.

    A lesion with less than 5 % of the surface can hide behind the percentile, found or missed: read the
    number beside `detect_lesions`.

    Args:
        mask_ref: reference, bool, (H, W) or (Z, H, W).
        mask_pred: prediction, bool, same shape.
        spacing: distance of neighbouring voxels along each axis of the masks, all > 0; ones give voxels.

    Returns:
        The distance in the unit of `spacing`; 0.0 when both masks are empty; inf when exactly one is, so that
        missing everything is never better than a poor contour.

    Raises:
        ValueError: `spacing` does not fit the masks.

    Reference:
        Taha & Hanbury (2015), section Spatial distance based metrics, the Hausdorff distance with its
        quantile; Maier-Hein, Reinke et al. (2024), Metrics Reloaded, Nat. Methods 21:195-212 (HD95: maximum
        of the two directed 95th percentiles).
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    if len(spacing) != mask_ref.ndim or not all(0 < step < np.inf for step in spacing):
        raise ValueError(
            f"spacing is {tuple(spacing)}, the masks are {mask_ref.shape}; pass one positive length per axis"
        )
    if not mask_ref.any() or not mask_pred.any():
        return 0.0 if mask_ref.any() == mask_pred.any() else float("inf")
    box = ndimage.find_objects((mask_ref | mask_pred).astype(np.uint8))[0]
    surface_ref, surface_pred = _surface(mask_ref[box]), _surface(mask_pred[box])
    return float(
        max(
            np.percentile(_distances(surface_ref, surface_pred, spacing), 95),
            np.percentile(_distances(surface_pred, surface_ref, spacing), 95),
        )
    )


def detect_lesions(mask_ref: np.ndarray, mask_pred: np.ndarray, *, min_overlap: int = 1) -> LesionCounts:
    """Counts lesions found, missed and invented.

    A lesion is one connected component, diagonals included (26-connectivity in 3D, 8 in 2D). A reference
    lesion is detected when at least `min_overlap` of its voxels are predicted, so a lesion smaller than that
    counts as missed. A predicted component is a false positive when it shares no voxel with any reference
    lesion, even if it lies right beside one.

    Args:
        mask_ref: reference, bool, (H, W) or (Z, H, W).
        mask_pred: prediction, bool, same shape.
        min_overlap: predicted voxels that make a reference lesion detected, at least 1.

    Returns:
        The three counts.

    Raises:
        ValueError: `min_overlap` is below 1.

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded: object detection by overlap.
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    if min_overlap < 1:
        raise ValueError(
            f"min_overlap is {min_overlap}; at 0 every lesion would count as detected, pass 1 or more"
        )
    labels_ref, labels_pred = label_lesions(mask_ref), label_lesions(mask_pred)
    n_ref, n_pred = int(labels_ref.max(initial=0)), int(labels_pred.max(initial=0))
    both = mask_ref & mask_pred
    found = np.bincount(labels_ref[both], minlength=n_ref + 1)[1:]
    touching = np.bincount(labels_pred[both], minlength=n_pred + 1)[1:]
    return LesionCounts(n_ref, int((found >= min_overlap).sum()), int((touching == 0).sum()))


def match_lesions(mask_ref: np.ndarray, mask_pred: np.ndarray) -> pd.DataFrame:
    """Sets each reference lesion against the predicted ones that it touches, and lists those that touch none.

    Args:
        mask_ref: reference, bool, any shape; lesions as in `detect_lesions`.
        mask_pred: prediction, bool, same shape.

    Returns:
        A row a lesion: false_positive (predicted, and touching no reference lesion), voxels (its own), found
        (whether a reference lesion is predicted in a voxel or more), dice (of a reference lesion and all
        predicted lesions that touch it, taken together; 0 for a missed one, nan for a false positive).

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded: object detection by overlap.
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    labels_ref, labels_pred = label_lesions(mask_ref), label_lesions(mask_pred)
    sizes_ref, sizes_pred = np.bincount(labels_ref.ravel()), np.bincount(labels_pred.ravel())
    both = mask_ref & mask_pred
    pairs, overlaps = np.unique(np.stack([labels_ref[both], labels_pred[both]]), axis=1, return_counts=True)
    rows = []
    for k in range(1, len(sizes_ref)):
        touched = pairs[0] == k
        tp, pred = overlaps[touched].sum(), sizes_pred[pairs[1][touched]].sum()
        score = float(dice_from_counts(sizes_ref[k], pred, tp, empty=np.nan))
        rows.append((False, int(sizes_ref[k]), bool(tp > 0), score))
    for k in set(range(1, len(sizes_pred))) - set(pairs[1].tolist()):
        rows.append((True, int(sizes_pred[k]), False, np.nan))
    kinds = {"false_positive": bool, "voxels": int, "found": bool, "dice": float}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)  # those of no lesion too


def lesion_f1(*, found: int, missed: int, false_positives: int) -> float:
    """Returns 2·found / (2·found + missed + false positives); nan where there is no lesion of either kind.

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded: F1 score for object detection.
    """
    of = 2 * found + missed + false_positives
    return 2 * found / of if of else float("nan")


def evaluate_case(
    mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing_mm: tuple[float, float, float] | None
) -> tuple[dict, pd.DataFrame]:
    """Scores one scan: a row for the patient table, and one row per slice.

    The row's policies: `dice` is nan when the whole scan is empty in both masks, 0 when only one is empty;
    `tumour_slice_dice` averages the slices whose reference is not empty (nan without any);
    `slice_dice_empty1` averages all slices, an empty slice left empty counting 1; `precision` is 0 when
    tumour was there and nothing was predicted, nan when both are empty; `recall` is nan without tumour;
    `ref_volume_ml` is nan without spacing.

    Args:
        mask_ref: reference, bool, (Z, H, W).
        mask_pred: prediction, bool, same shape.
        spacing_mm: voxel spacing (z, y, x) in mm; None when unknown: `hd95` is then in voxels, every
            axis counting the same, and `hd95_unit` says "px".

    Returns:
        The row (plain ints, floats, one str) and the slice table with columns slice_index, ref_px, pred_px,
        tp_px, dice (nan where both are empty).

    Raises:
        ValueError: the masks are not 3D, or `spacing_mm` does not fit them.
    """
    mask_ref, mask_pred = _checked(mask_ref, mask_pred)
    if mask_ref.ndim != 3:
        raise ValueError(
            f"masks are {mask_ref.shape}; evaluate_case takes volumes (Z, H, W), a slice as mask[None]"
        )
    both = mask_ref & mask_pred
    ref_px, pred_px, tp_px = (np.count_nonzero(mask, axis=(1, 2)) for mask in (mask_ref, mask_pred, both))
    slice_dice = dice_from_counts(ref_px, pred_px, tp_px, empty=np.nan)
    per_slice = pd.DataFrame(
        {
            "slice_index": np.arange(len(ref_px)),
            "ref_px": ref_px,
            "pred_px": pred_px,
            "tp_px": tp_px,
            "dice": slice_dice,
        }
    )
    lesions = detect_lesions(mask_ref, mask_pred)
    ref, pred, tp = int(ref_px.sum()), int(pred_px.sum()), int(tp_px.sum())
    row = {
        "n_slices": len(ref_px),
        "n_tumour_slices": int((ref_px > 0).sum()),
        "ref_voxels": ref,
        "pred_voxels": pred,
        "tp_voxels": tp,
        "dice": float(dice_from_counts(ref, pred, tp, empty=np.nan)),
        "tumour_slice_dice": float(per_slice.loc[per_slice.ref_px > 0, "dice"].mean()),
        "slice_dice_empty1": float(per_slice.dice.fillna(1.0).mean()),
        # nan here would drop a complete miss from the mean precision and so reward it
        "precision": precision(mask_ref, mask_pred, empty=0.0 if ref else np.nan),
        "recall": recall(mask_ref, mask_pred, empty=np.nan),
        "hd95": hd95(mask_ref, mask_pred, spacing=(1.0, 1.0, 1.0) if spacing_mm is None else spacing_mm),
        "hd95_unit": "px" if spacing_mm is None else "mm",
        "lesions_ref": lesions.reference,
        "lesions_detected": lesions.detected,
        "lesions_false_positive": lesions.false_positive,
        "ref_volume_ml": float("nan") if spacing_mm is None else float(ref * np.prod(spacing_mm) / 1000),
    }
    return row, per_slice


def _checked(mask_ref, mask_pred) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as arrays; raises unless they are bool and of one shape."""
    mask_ref, mask_pred = np.asarray(mask_ref), np.asarray(mask_pred)
    for name, mask in (("mask_ref", mask_ref), ("mask_pred", mask_pred)):
        if mask.dtype != bool:
            raise TypeError(f"{name} is {mask.dtype}, not bool; threshold it first, for example mask > 0")
    if mask_ref.shape != mask_pred.shape:
        raise ValueError(
            f"mask_ref is {mask_ref.shape} but mask_pred is {mask_pred.shape}; bring both to one grid"
        )
    return mask_ref, mask_pred


def _surface(mask: np.ndarray) -> np.ndarray:
    """The mask's voxels that have a background neighbour across a face; the array's edge is background."""
    return mask & ~ndimage.binary_erosion(mask)


def _distances(start: np.ndarray, target: np.ndarray, spacing) -> np.ndarray:
    """Distance from each voxel of `start` to the nearest of `target`, both bool and not empty."""
    # a tree's time follows the surfaces, a distance map's the box, which one stray voxel blows up;
    # a noisy mask is nearly all surface, and there the map is ten times faster
    if 20 * (np.count_nonzero(start) + np.count_nonzero(target)) > start.size:
        return ndimage.distance_transform_edt(~target, sampling=spacing)[start]
    tree = spatial.KDTree(np.argwhere(target) * np.asarray(spacing, dtype=float))
    return tree.query(np.argwhere(start) * np.asarray(spacing, dtype=float))[0]
