"""How far lesions stand out before any network: from what surrounds them, at one threshold, and by CLAHE."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.data.cases import CaseFiles, load_case
from metseg.data.volume import CHANNELS, Case
from metseg.masks.components import fullest_slice, label_lesions
from metseg.metrics.overlap import dice_from_counts
from metseg.preprocessing.pipeline import Preprocessing, preprocess, preprocess_mask, view_of

_RIM = np.ones((9, 9), np.uint8)
_AROUND_MM = (1.5, 5.0)  # nearer, a voxel is partly lesion
_CONTRASTS = (0.25, 0.5)  # ends of the classes


def lesion_contrasts(cases: Iterable[CaseFiles]) -> pd.DataFrame:
    """Measures by how much each lesion of volumes' references is brighter than what surrounds it.

    The contrast is a / b − 1 in post-contrast T1: a the 90th percentile inside, which a necrotic core or a
    blurred edge hardly changes; b the mean of what is 1.5 to 5 mm away, in no lesion and not 0, as beyond a
    stripped skull. Grey values are the networks' own, which count from the scan's lowest.

    Returns:
        A row a lesion: case_id, lesion (its number, as in `reference_lesions`), contrast; nan where nothing
        surrounds it, the size of voxels is unknown, or another sequence stands in for post-contrast T1.
    """
    rows = []
    for files in cases:
        case = load_case(files)
        image = case.volume.array[case.volume.channels.index("t1c")]
        numbers = label_lesions(case.mask)
        of = np.full(numbers.max(), np.nan)
        if case.volume.spacing_mm and "t1c" not in files.missing:
            of[:] = _contrasts(image, numbers, case.volume.spacing_mm)
        rows.append(pd.DataFrame({"case_id": case.case_id, "lesion": np.arange(len(of)) + 1, "contrast": of}))
    return pd.concat(rows, ignore_index=True)


def contrast_classes(contrast: pd.Series) -> pd.Series:
    """Returns the class of each contrast, ordered categories, "< 25 %", "25–50 %", "≥ 50 %"; nan stays."""
    low, high = (f"{100 * each:g}" for each in _CONTRASTS)
    names = [f"< {low} %", f"{low}–{high} %", f"≥ {high} %"]
    return pd.cut(contrast, [-np.inf, *_CONTRASTS, np.inf], right=False, labels=names)


def _contrasts(image: np.ndarray, numbers: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[float]:
    """Returns the contrast of each lesion, in the order of their numbers by `label_lesions`."""
    from scipy import ndimage  # here, for slices do without it

    found = []
    margin = [int(np.ceil(_AROUND_MM[1] / step)) for step in spacing_mm]
    for number, box in enumerate(ndimage.find_objects(numbers), 1):
        around = tuple(
            slice(max(side.start - more, 0), side.stop + more) for side, more in zip(box, margin, strict=True)
        )
        lesion, values = numbers[around] == number, image[around]
        away = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm)
        near = (away >= _AROUND_MM[0]) & (away <= _AROUND_MM[1]) & (values > 0) & (numbers[around] == 0)
        inside = np.percentile(values[lesion], 90)
        found.append(float(inside / values[near].mean() - 1) if near.any() else np.nan)
    return found


def threshold_curves(cases: Iterable[Case]) -> dict[str, np.ndarray]:
    """Returns {channel: pooled Dice of "lesion is where the grey value is ≥ t", t = 0…255}.

    It is what a network must beat. The best t is read off the very cases it is judged on, so the curve's
    maximum flatters thresholding.
    """
    inside, everywhere = np.zeros((2, len(CHANNELS), 256), np.int64)
    for case in cases:
        for channel in range(len(CHANNELS)):
            values = case.image[..., channel]
            everywhere[channel] += np.bincount(values.ravel(), minlength=256)
            inside[channel] += np.bincount(values[case.mask], minlength=256)
    # Counts of pixels at or above each threshold.
    pred, tp = (each[:, ::-1].cumsum(axis=1)[:, ::-1] for each in (everywhere, inside))
    return dict(zip(CHANNELS, dice_from_counts(tp[:, :1], pred, tp, empty=np.nan), strict=True))


def contrast_and_noise(
    cases: Sequence[Case], config: Preprocessing, clip_limits: Sequence[float], *, channel: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Measures what CLAHE gains and costs on each case's fullest slice, relative to no CLAHE.

    Contrast is |mean inside the lesion − mean of a rim 4 px wide around it|. Noise is the median
    difference between neighbouring pixels of even tissue: the half of the head outside the lesion where the
    slice without CLAHE has the smallest gradient.

    Returns:
        Contrast and noise in a channel at each of OpenCV's clip limits, (len(clip_limits),), as medians over
        the cases; those whose lesion is gone at the network's size are left out.

    Raises:
        MetsegError: No case has a lesion left.
    """
    measured = []
    for case in cases:
        z = fullest_slice(case.mask)
        view = view_of(case.volume, config)
        lesion = preprocess_mask(case.mask[z], config, view)
        if not lesion.any():
            continue
        plain, *clipped = (
            preprocess(case.image[z], config.model_copy(update={"clip_limit": limit}), view)[..., channel]
            for limit in (0.0, *clip_limits)
        )
        rim = cv2.dilate(lesion.astype(np.uint8), _RIM).astype(bool) & ~lesion
        tissue, steepness = (plain > 0.1) & ~lesion, np.hypot(*np.gradient(plain))
        even = (tissue & (steepness <= np.median(steepness[tissue])))[:, 1:]
        measured.append([
            (abs(image[lesion].mean() - image[rim].mean()), np.median(np.abs(np.diff(image, axis=1))[even]))
            for image in (plain, *clipped)
        ])  # fmt: skip
    if not measured:
        raise MetsegError("no case shows a lesion to measure; choose others or a larger image_size")
    measured = np.array(measured)  # (cases, limits, 2)
    contrast, noise = np.median(measured[:, 1:] / np.maximum(measured[:, :1], 1e-6), axis=0).T
    return contrast, noise
