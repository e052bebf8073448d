"""The simplest segmentation there is, one global threshold: what a network must beat."""

from collections.abc import Sequence

import numpy as np

from metseg.data.cases import Case
from metseg.data.images import CHANNELS
from metseg.metrics import dice_from_counts


def threshold_curves(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """Returns for each channel the pooled Dice of "lesion is where the grey value is ≥ t", t = 0…255.

    The best t is read off the very cases it is judged on, so the curve's maximum flatters thresholding.

    Args:
        cases: Cases with uint8 images.

    Returns:
        {channel name: (256,) float}.
    """
    curves = {}
    for channel, name in enumerate(CHANNELS):
        inside, everywhere = np.zeros(256, np.int64), np.zeros(256, np.int64)
        for case in cases:
            values = case.image[..., channel]
            everywhere += np.bincount(values.ravel(), minlength=256)
            inside += np.bincount(values[case.mask], minlength=256)
        # Counts of pixels at or above each threshold.
        pred, tp = everywhere[::-1].cumsum()[::-1], inside[::-1].cumsum()[::-1]
        curves[name] = np.asarray(dice_from_counts(tp[0], pred, tp, empty=np.nan))
    return curves
