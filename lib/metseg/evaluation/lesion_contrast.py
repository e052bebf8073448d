"""How far lesions stand out before any network: at one threshold, and by CLAHE."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.volume import CHANNELS, Case
from metseg.masks.components import fullest_slice
from metseg.metrics.overlap import dice_from_counts
from metseg.preprocessing.pipeline import Preprocessing, preprocess, preprocess_mask, view_of

_RIM = np.ones((9, 9), np.uint8)


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
