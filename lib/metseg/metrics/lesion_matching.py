"""Which predicted lesions belong to which lesion of the reference, by rules with a name."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage, optimize

from metseg.masks.components import label_lesions
from metseg.metrics.overlap import checked_pair, dice_from_counts

# one sentence a rule, shown wherever a figure made by it is shown
MATCHINGS: dict[str, str] = {
    "voxel": "Found if a voxel of it is predicted; a predicted lesion without such a voxel is invented.",
    "mets2023": "Reference lesions that touch once dilated (18-connected) are one, found if a predicted "
    "lesion touches its dilated shape; predicted lesions that touch none are invented.",
    "mets2026": "One predicted lesion at most for each of the reference, so that the sum of Dice is largest; "
    "found at Dice 0.2 or more; predicted lesions without a partner are invented.",
}
FOUND_DICE = 0.2  # of `mets2026`


class Matching(NamedTuple):
    """Numbered lesions and which belong together, in a box that holds them all.

    Attributes:
        reference, prediction: int32, 0 outside, 1…n inside lesions.
        pairs: (pairs, 2) int: number of the reference's lesion, number of a predicted one.
        voxels_ref, voxels_pred: (n,) int, of each number.
        dice: (lesions of the reference,) of each and all predicted lesions paired with it; 0 without any.
    """

    reference: np.ndarray
    prediction: np.ndarray
    pairs: np.ndarray
    voxels_ref: np.ndarray
    voxels_pred: np.ndarray
    dice: np.ndarray

    @property
    def paired(self) -> np.ndarray:
        """(lesions of the reference,) bool: it has a predicted lesion."""
        return np.isin(np.arange(len(self.voxels_ref)) + 1, self.pairs[:, 0])

    @property
    def invented(self) -> np.ndarray:
        """(predicted lesions,) bool: the false positives, which belong to no lesion."""
        return ~np.isin(np.arange(len(self.voxels_pred)) + 1, self.pairs[:, 1])


def pair_lesions(mask_ref: np.ndarray, mask_pred: np.ndarray, rule: str) -> Matching:
    """Numbers the lesions of two bool masks of one shape, (H, W) or (Z, H, W), and pairs them.

    A lesion is one connected component, diagonals included; by `mets2023`, see `MATCHINGS`.

    Raises:
        ValueError: No such rule, or two shapes.
        TypeError: A mask is not bool.
    """
    if rule not in MATCHINGS:
        raise ValueError(f"there is no matching {rule!r}; give one of {', '.join(MATCHINGS)}")
    ref, pred = _within_box(*checked_pair(mask_ref, mask_pred))
    reach = ref
    if rule == "mets2023":
        reach = ndimage.binary_dilation(ref, ndimage.generate_binary_structure(ref.ndim, 2))
    reach, prediction = label_lesions(reach), label_lesions(pred)
    reference = np.where(ref, reach, 0)
    voxels_ref, voxels_pred = np.bincount(reach[ref])[1:], np.bincount(prediction[pred])[1:]
    # Every voxel that a lesion and a predicted one share, or its dilated shape and a predicted one.
    touch = (reach > 0) & pred
    stride = len(voxels_pred) + 1
    codes = reach[touch].astype(np.int64) * stride + prediction[touch]
    codes, inverse = np.unique(codes, return_inverse=True)
    pairs = np.stack(np.divmod(codes, stride), axis=1)
    shared = np.bincount(inverse, weights=ref[touch], minlength=len(pairs))
    if rule == "mets2026":
        kept = _best(pairs, 2 * shared / (voxels_ref[pairs[:, 0] - 1] + voxels_pred[pairs[:, 1] - 1]))
        pairs, shared = pairs[kept], shared[kept]
    lesion, partner = pairs.T - 1
    tp = np.bincount(lesion, shared, len(voxels_ref))
    partners = np.bincount(lesion, voxels_pred[partner], len(voxels_ref))
    dice = dice_from_counts(voxels_ref, partners, tp, empty=np.nan)
    return Matching(reference, prediction, pairs, voxels_ref, voxels_pred, dice)


def match_lesions(mask_ref: np.ndarray, mask_pred: np.ndarray, *, rule: str = "voxel") -> pd.DataFrame:
    """Sets each reference lesion against the predicted ones, and lists those that belong to none.

    Args:
        mask_ref, mask_pred: bool, (H, W) or (Z, H, W).
        rule: One of `MATCHINGS`.

    Returns:
        A row a lesion, those of the reference first: false_positive, voxels (its own), found, dice (of a
        reference lesion and all predicted lesions paired with it, taken together; 0 for a missed one, nan
        for a false positive).

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded: object detection by overlap (`voxel`). The others:
        `metseg.metrics.lesionwise`.
    """
    matching = pair_lesions(mask_ref, mask_pred, rule)
    found = matching.dice >= FOUND_DICE if rule == "mets2026" else matching.paired
    invented = matching.voxels_pred[matching.invented]
    columns = {
        "false_positive": np.arange(len(found) + len(invented)) >= len(found),
        "voxels": np.r_[matching.voxels_ref, invented].astype(int),
        "found": np.r_[found, np.zeros(len(invented), bool)],
        "dice": np.r_[matching.dice, np.full(len(invented), np.nan)],
    }
    return pd.DataFrame(columns)


def _within_box(mask_ref: np.ndarray, mask_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both masks in the box of all that is marked and a voxel around it, where there is one."""
    boxes = ndimage.find_objects((mask_ref | mask_pred).view(np.uint8))
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in boxes[0]) if boxes else ...
    return mask_ref[box], mask_pred[box]


def _best(pairs: np.ndarray, dice: np.ndarray) -> np.ndarray:
    """Returns which pairs match each lesion at most once, with the largest sum of Dice."""
    lesions, row = np.unique(pairs[:, 0], return_inverse=True)
    partners, column = np.unique(pairs[:, 1], return_inverse=True)
    table = np.zeros((len(lesions), len(partners)))
    table[row, column] = dice
    chosen = np.zeros(table.shape, bool)
    chosen[optimize.linear_sum_assignment(table, maximize=True)] = True
    return chosen[row, column]
