"""Lesion-wise scores as the BraTS challenges on metastases define them, one function a definition.

Each returns a table, one row a lesion, and a summary. Masks are of one region (ET, TC, WT or any other), bool
(Z, H, W); `spacing_mm` is the voxel size (z, y, x), without which neither volume nor distance is known.
Distances are in mm. Both give what their challenge's program gives; what is odd there is said, not mended.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from metseg.metrics.lesion_matching import FOUND_DICE, Matching, pair_lesions
from metseg.metrics.overlap import checked_pair, dice, lesion_f1
from metseg.metrics.surface import checked_spacing, surface_distances
from metseg.metrics.surface_area import hd95_by_area

LEAST_MM3_2023 = 2.0  # lesions of the reference count above it
MISS_MM_2023 = 374.0
LARGE_MM3_2026 = 27.0  # lesions of the reference are large from it on
MISS_MM_2026 = 373.0


class Mets2023(NamedTuple):
    """Summary of one region of one scan by `mets2023`.

    Attributes:
        dice, hd95_mm: Means over the lesions that count and the false positives; 1 and 0 without any.
        found, missed: Lesions that count, touched by a predicted one or not.
        false_positives: Predicted lesions that touch no lesion, whatever its volume.
        volume_dice, volume_hd95_mm: Of the whole masks ("legacy"); both empty is 1 and 0, one of them 0 and
            374.
    """

    dice: float
    hd95_mm: float
    found: int
    missed: int
    false_positives: int
    volume_dice: float
    volume_hd95_mm: float


class Detection(NamedTuple):
    """Lesions found, missed and invented, and the F1 of that."""

    found: int
    missed: int
    false_positives: int
    f1: float


class Mets2026(NamedTuple):
    """Summary of one region of one scan by `mets2026`.

    Attributes:
        dice, nsd, hd95_mm: Means over large lesions and false positives; nan without a large lesion.
        dice_std, nsd_std, hd95_std_mm: Population standard deviations over the same.
        any_overlap: Detection of all lesions, found with any partner; F1 is nan where there is none.
        large: Detection of large lesions at Dice 0.2; F1 is 0 where there is none and nothing is invented.
        small: The same of the others; None where there is none.
    """

    dice: float
    dice_std: float
    nsd: float
    nsd_std: float
    hd95_mm: float
    hd95_std_mm: float
    any_overlap: Detection
    large: Detection
    small: Detection | None


def mets2023(
    mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing_mm: tuple[float, float, float]
) -> tuple[pd.DataFrame, Mets2023]:
    """Scores one region as BraTS-METS 2023 did.

    Components are 26-connected. The reference is dilated once by an 18-connected element; lesions whose
    dilated shapes are one component are one lesion. All predicted components that touch a lesion's dilated
    shape are united and scored against the lesion itself. The sums over lesions of more than 2 mm³ are
    divided by their number and that of the false positives; a miss and a false positive count Dice 0 and
    HD95 374 mm. A predicted component may count for several lesions.

    Returns:
        The table, lesions of the reference first: false_positive, volume_mm3, counts (in the means), found,
        dice, hd95_mm (`hd95_by_area`); and the summary.

    Raises:
        TypeError, ValueError: Masks are no bool volumes of one shape, or the spacing does not fit.

    Reference:
        Moawad et al. (2023), The Brain Tumor Segmentation (BraTS-METS) Challenge 2023, arXiv:2306.00838;
        github.com/rachitsaluja/BraTS-2023-Metrics.
    """
    mask_ref, mask_pred, spacing_mm = _checked(mask_ref, mask_pred, spacing_mm)
    matching = pair_lesions(mask_ref, mask_pred, "mets2023")
    lesions = _table(matching, spacing_mm, MISS_MM_2023)
    for row, ref, pred in _partners(matching):
        lesions.loc[row, "hd95_mm"] = hd95_by_area(ref, pred, spacing=spacing_mm)
    lesions.insert(2, "counts", lesions.false_positive | (lesions.volume_mm3 > LEAST_MM3_2023))
    counted = lesions[lesions.counts]
    whole = hd95_by_area(mask_ref, mask_pred, spacing=spacing_mm)
    summary = Mets2023(
        dice=float(counted.dice.mean()) if len(counted) else 1.0,
        hd95_mm=float(counted.hd95_mm.mean()) if len(counted) else 0.0,
        found=int(counted.found.sum()),
        missed=int((~counted.found & ~counted.false_positive).sum()),
        false_positives=int(counted.false_positive.sum()),
        volume_dice=dice(mask_ref, mask_pred, empty=1.0),
        volume_hd95_mm=whole if np.isfinite(whole) else MISS_MM_2023,
    )
    return lesions, summary


def mets2026(
    mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing_mm: tuple[float, float, float]
) -> tuple[pd.DataFrame, Mets2026]:
    """Scores one region as BraTS-METS 2026 does.

    Components are 26-connected, nothing is dilated. Each lesion has one predicted component at most and the
    reverse, so that the sum of Dice is largest. Means go over the lesions of 27 mm³ or more and over every
    false positive; a miss and a false positive count Dice 0, NSD 0 and HD95 373 mm. HD95 is the 95th
    percentile of both directions' distances together, NSD the mean over both directions of the share of
    surface voxels within the smallest voxel side of the other surface (surfaces as in `surface.hd95`).

    Known holes, kept as they are in the challenge: in a scan without a large lesion the means are undefined,
    so that a false positive there costs nothing; a partner of too small a Dice is neither found nor a false
    positive; every false positive counts against the large lesions and again against the small ones; and
    where a lesion was found in pieces, losing it whole takes its surplus pieces out of the means and may
    raise them.

    Returns:
        The table, lesions of the reference first: false_positive, volume_mm3, large (of the reference), found
        (at Dice 0.2), dice, nsd, hd95_mm; and the summary.

    Raises:
        TypeError, ValueError: Masks are no bool volumes of one shape, or the spacing does not fit.

    Reference:
        github.com/BraTS/BraTS_evaluation, configuration `mets`, volume threshold 27, overlap threshold 0.2;
        Kofler et al. (2023), Panoptica, arXiv:2312.02608.
    """
    mask_ref, mask_pred, spacing_mm = _checked(mask_ref, mask_pred, spacing_mm)
    matching = pair_lesions(mask_ref, mask_pred, "mets2026")
    lesions = _table(matching, spacing_mm, MISS_MM_2026)
    lesions.insert(5, "nsd", 0.0)
    for row, ref, pred in _partners(matching):
        distances = surface_distances(ref, pred, spacing_mm)
        lesions.loc[row, "nsd"] = np.mean([(each <= min(spacing_mm)).mean() for each in distances])
        lesions.loc[row, "hd95_mm"] = np.percentile(np.concatenate(distances), 95)
    overlapped, invented = lesions.found.copy(), lesions.false_positive
    lesions["found"] = lesions.dice >= FOUND_DICE
    lesions.insert(2, "large", ~invented & (lesions.volume_mm3 >= LARGE_MM3_2026))
    small = ~invented & ~lesions.large
    means = lesions.loc[lesions.large | invented, ["dice", "nsd", "hd95_mm"]]
    if not lesions.large.any():
        means = means.iloc[:0]
    of = {name: (means[name].mean(), means[name].std(ddof=0)) for name in means}

    def detection(of: pd.Series, found: pd.Series, empty: float) -> Detection:
        hits, false = int((of & found).sum()), int(invented.sum())
        missed = int(of.sum()) - hits
        f1 = lesion_f1(found=hits, missed=missed, false_positives=false)
        return Detection(hits, missed, false, empty if np.isnan(f1) else f1)

    summary = Mets2026(
        *map(float, (*of["dice"], *of["nsd"], *of["hd95_mm"])),
        any_overlap=detection(~invented, overlapped, np.nan),
        large=detection(lesions.large, lesions.found, 0.0),
        small=detection(small, lesions.found, 0.0) if small.any() else None,
    )
    return lesions, summary


def _checked(mask_ref: np.ndarray, mask_pred: np.ndarray, spacing_mm: tuple) -> tuple:
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    if mask_ref.ndim != 3:
        raise ValueError(f"masks are {mask_ref.shape}; give volumes (Z, H, W)")
    return mask_ref, mask_pred, checked_spacing(spacing_mm, 3)


def _table(matching: Matching, spacing_mm: tuple, miss_mm: float) -> pd.DataFrame:
    """Returns all lesions, those of the reference first, as if each were missed but for its Dice."""
    invented = matching.voxels_pred[matching.invented]
    n, voxels = len(matching.voxels_ref), np.r_[matching.voxels_ref, invented]
    columns = {
        "false_positive": np.arange(len(voxels)) >= n,
        "volume_mm3": voxels * float(np.prod(spacing_mm)),
        "found": np.r_[matching.paired, np.zeros(len(invented), bool)],
        "dice": np.r_[matching.dice, np.zeros(len(invented))],
        "hd95_mm": np.full(len(voxels), miss_mm),
    }
    return pd.DataFrame(columns)


def _partners(matching: Matching):
    """Yields of each paired lesion its row, and it and its partners as masks in the box that holds them."""
    boxes = ndimage.find_objects(matching.reference), ndimage.find_objects(matching.prediction)
    for lesion in np.flatnonzero(matching.paired):
        partners = matching.pairs[matching.pairs[:, 0] == lesion + 1, 1]
        parts = [boxes[0][lesion], *(boxes[1][partner - 1] for partner in partners)]
        box = tuple(
            slice(min(side.start for side in sides), max(side.stop for side in sides))
            for sides in zip(*parts, strict=True)
        )
        yield lesion, matching.reference[box] == lesion + 1, np.isin(matching.prediction[box], partners)
