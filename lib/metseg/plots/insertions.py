"""Synthetic metastases beside the real enhancing tumour of the same scan, for a reader to judge."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from metseg.data.phantom.insert import Insertion
from metseg.data.volume import SEQUENCES
from metseg.masks.components import fullest_slice
from metseg.plots.style import PREDICTION, REFERENCE, outline, picture


def plot_insertions(
    made: Insertion, *, channels: Sequence[str] = ("t1c", "flair"), most: int = 5, side_mm: float = 70.0
) -> np.ndarray:
    """Shows metastases and, last, the scan's own enhancing tumour, each in the slice that shows most of it.

    A row a sequence, plain, and the first sequence once more with contours: tumour core solid, whole tumour
    dashed. Of more lesions than fit the shown ones are spread over all sizes.

    Args:
        made: On an axial grid.
        channels: Which of its sequences.
        most: How many metastases.
        side_mm: Width and height of a picture.

    Returns:
        (channels + 1, lesions) Axes.
    """
    shown = np.unique(np.linspace(0, len(made.lesions) - 1, min(most, len(made.lesions))).astype(int))
    views = {
        f"{lesion.kind}, {lesion.diameter_mm:.1f} mm": made.inserted == lesion.number
        for lesion in (made.lesions[k] for k in shown)
    }
    own = made.labels.region("ET") & (made.inserted == 0)
    if own.any():
        views["real (own tumour)"] = own
    if not views:
        raise ValueError("there is no metastasis to show; insert one")
    rows = len(channels) + 1
    axes = plt.subplots(rows, len(views), figsize=(1.9 * len(views), 1.9 * rows + 0.2), squeeze=False)[1]
    spacing = made.volume.spacing_mm
    for column, (title, mask) in zip(axes.T, views.items(), strict=True):
        z = fullest_slice(mask)
        centre = np.argwhere(mask[z]).mean(axis=0)
        window = (z, *(_around(c, side_mm / s, n) for c, s, n in
                       zip(centre, spacing[1:], mask.shape[1:], strict=True)))  # fmt: skip
        for k, ax in enumerate(column):
            channel = channels[k % len(channels)]
            image = made.volume.array[made.volume.channels.index(channel)]
            upper = 1.1 * np.percentile(image[image > 0], 99.7)
            picture(ax, image[window], title if k == 0 else "", upper=upper).title.set_fontsize(7)
            ax.set_aspect(spacing[1] / spacing[2])
            if k == len(channels):
                outline(ax, made.labels.region("TC")[window], REFERENCE)
                outline(ax, made.labels.region("WT")[window], PREDICTION)
    for channel, ax in zip((*channels, channels[0]), axes[:, 0], strict=True):
        place = {"rotation": 90, "va": "center", "ha": "right", "transform": ax.transAxes}
        ax.text(-0.04, 0.5, SEQUENCES.get(channel, channel), fontsize=8, **place)
    return axes


def _around(centre: float, length: float, size: int) -> slice:
    start = int(np.clip(centre - length / 2, 0, max(size - length, 0)))
    return slice(start, min(start + round(length), size))
