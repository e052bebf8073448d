"""All scores of one scan: a row for the table of patients, and a row a slice."""

import numpy as np
import pandas as pd

from metseg.metrics.lesion_matching import match_lesions
from metseg.metrics.lesionwise import mets2023, mets2026
from metseg.metrics.overlap import checked_pair, dice_from_counts
from metseg.metrics.patient_sums import voxel_mm3
from metseg.metrics.surface import hd95

LESIONWISE = ("mets2023_dice", "mets2023_hd95", "mets2026_dice", "mets2026_nsd", "mets2026_hd95")


def region_scores(mask_ref: np.ndarray, mask_pred: np.ndarray) -> dict:
    """Returns ref_voxels, pred_voxels, tp_voxels and dice as in `evaluate_case`'s row, in no time."""
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    ref, pred, tp = (int(np.count_nonzero(mask)) for mask in (mask_ref, mask_pred, mask_ref & mask_pred))
    dice = float(dice_from_counts(ref, pred, tp, empty=np.nan))
    return {"ref_voxels": ref, "pred_voxels": pred, "tp_voxels": tp, "dice": dice}


def evaluate_case(
    mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing_mm: tuple[float, float, float] | None
) -> tuple[dict, pd.DataFrame]:
    """Scores one scan.

    The row's policies: `dice` is nan when the whole scan is empty in both masks, 0 when only one is empty;
    `tumour_slice_dice` averages the slices whose reference is not empty (nan without any);
    `slice_dice_empty1` averages all slices, an empty slice left empty counting 1; `precision`, the share of
    the predicted voxels that are right, is 0 when tumour was there and nothing was predicted, nan when both
    are empty; `recall`, the share of the reference that was found, and `ref_volume_ml` are nan without
    tumour, and without spacing. The lesion-wise scores (`LESIONWISE`, distances in mm) are nan without
    spacing and for a single slice, for a lesion then has no volume; so are those of 2026 without a large
    lesion.

    Args:
        mask_ref, mask_pred: bool, (Z, H, W).
        spacing_mm: voxel spacing (z, y, x); None when unknown: `hd95` is then in voxels, every axis counting
            the same, and `hd95_unit` says "px".

    Returns:
        The row (plain ints, floats, one str) and the slice table with columns slice_index, ref_px, pred_px,
        tp_px, dice (nan where both are empty).

    Raises:
        ValueError: the masks are not 3D, or `spacing_mm` does not fit them.
    """
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    if mask_ref.ndim != 3:
        raise ValueError(f"masks are {mask_ref.shape}; give volumes (Z, H, W), a slice as mask[None]")
    both = mask_ref & mask_pred
    ref_px, pred_px, tp_px = (np.count_nonzero(mask, axis=(1, 2)) for mask in (mask_ref, mask_pred, both))
    slice_dice = dice_from_counts(ref_px, pred_px, tp_px, empty=np.nan)
    counts = {"ref_px": ref_px, "pred_px": pred_px, "tp_px": tp_px, "dice": slice_dice}
    per_slice = pd.DataFrame({"slice_index": np.arange(len(ref_px)), **counts})
    lesions = match_lesions(mask_ref, mask_pred)
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
        # nan for a complete miss would drop it from the mean precision and so reward it
        "precision": tp / pred if pred else (0.0 if ref else np.nan),
        "recall": tp / ref if ref else np.nan,
        "hd95": hd95(mask_ref, mask_pred, spacing=(1.0, 1.0, 1.0) if spacing_mm is None else spacing_mm),
        "hd95_unit": "px" if spacing_mm is None else "mm",
        "lesions_ref": int((~lesions.false_positive).sum()),
        "lesions_detected": int(lesions.found.sum()),
        "lesions_false_positive": int(lesions.false_positive.sum()),
        "ref_volume_ml": np.nan if spacing_mm is None else float(ref * np.prod(spacing_mm) / 1000),
        "voxel_mm3": voxel_mm3(spacing_mm),
    }
    return row | _lesionwise(mask_ref, mask_pred, spacing_mm), per_slice


def _lesionwise(mask_ref: np.ndarray, mask_pred: np.ndarray, spacing_mm: tuple | None) -> dict[str, float]:
    if spacing_mm is None or len(mask_ref) == 1:
        return dict.fromkeys(LESIONWISE, np.nan)
    (_, of_2023), (_, of_2026) = (
        score(mask_ref, mask_pred, spacing_mm=spacing_mm) for score in (mets2023, mets2026)
    )
    scores = (of_2023.dice, of_2023.hd95_mm, of_2026.dice, of_2026.nsd, of_2026.hd95_mm)
    return dict(zip(LESIONWISE, scores, strict=True))
