"""The simplest segmentation there is, one global threshold: what a network must beat."""

from collections.abc import Iterable

import numpy as np

from metseg.data.volume import CHANNELS, Case
from metseg.metrics.overlap import dice_from_counts


def threshold_curves(cases: Iterable[Case]) -> dict[str, np.ndarray]:
    """Returns for each channel the pooled Dice of "lesion is where the grey value is ≥ t", t = 0…255.

    The best t is read off the very cases it is judged on, so the curve's maximum flatters thresholding.

    Args:
        cases: Cases with uint8 images, looked at one by one.

    Returns:
        {channel name: (256,) float}.
    """
    inside, everywhere = np.zeros((2, len(CHANNELS), 256), np.int64)
    for case in cases:
        for channel in range(len(CHANNELS)):
            values = case.image[..., channel]
            everywhere[channel] += np.bincount(values.ravel(), minlength=256)
            inside[channel] += np.bincount(values[case.mask], minlength=256)
    # Counts of pixels at or above each threshold.
    pred, tp = everywhere[:, ::-1].cumsum(axis=1)[:, ::-1], inside[:, ::-1].cumsum(axis=1)[:, ::-1]
    dice = dice_from_counts(tp[:, :1], pred, tp, empty=np.nan)
    return dict(zip(CHANNELS, np.asarray(dice), strict=True))
