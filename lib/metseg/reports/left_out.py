"""What is large, and only its score keeps out of the mask: told, for nobody looks for what is not marked."""

import numpy as np

from metseg.masks.components import label_lesions, lesion_score
from metseg.masks.postprocess import Postprocessing

LARGE_MM3 = (
    4000.0  # of three networks no false positive in 42 scans was as large, from a probability of 0.2 on
)


def left_out(
    prob_map: np.ndarray,
    mask: np.ndarray,
    settings: Postprocessing,
    spacing_mm: tuple[float, float, float] | None,
) -> list[str]:
    """Returns a sentence on each region of `LARGE_MM3` or more that `lesion_threshold` drops, largest first.

    Args:
        prob_map: (Z, Y, X) float.
        mask: (Z, Y, X) bool, what these settings make of it.
        settings: By which the mask was made.
        spacing_mm: Voxel size (z, y, x); None where unknown: then nothing is said.
    """
    if settings.lesion_threshold is None or spacing_mm is None:
        return []
    numbers = label_lesions((prob_map >= settings.threshold) & ~mask)
    sizes = np.bincount(numbers.ravel()) * np.prod(spacing_mm)
    large = [number for number in np.argsort(-sizes) if number and sizes[number] >= LARGE_MM3]
    scores = {number: lesion_score(prob_map[numbers == number]) for number in large}
    return [
        f"A region of {sizes[number] / 1000:.1f} ml is not in the mask: its score, {score:.3f}, is below "
        f"{settings.lesion_threshold:g}. So large a one is seldom a false positive: look at it with a lower "
        "lesion threshold."
        for number, score in scores.items()
    ]
