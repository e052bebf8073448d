"""What is large, and only its score keeps out of the mask: told, for nobody looks for what is not marked."""

import numpy as np

from metseg.masks.components import label_lesions, lesion_probabilities
from metseg.masks.postprocess import Postprocessing

# No false positive of three networks was as large in 42 scans of 14 brains; the largest had 3.8 ml.
LARGE_MM3 = 4000.0


def large_dropped(
    prob_map: np.ndarray, settings: Postprocessing, spacing_mm: tuple[float, float, float] | None
) -> tuple[str, ...]:
    """Returns a sentence on each region of `LARGE_MM3` or more that `lesion_threshold` drops, largest first.

    Args:
        prob_map: (Z, Y, X) float.
        settings: By which its mask is made.
        spacing_mm: Voxel size (z, y, x); None where unknown: then nothing is said.
    """
    least = settings.lesion_threshold
    if least is None or spacing_mm is None:
        return ()
    numbers = label_lesions(prob_map >= settings.threshold)
    sizes = np.bincount(numbers.ravel()) * np.prod(spacing_mm)
    large = [number for number in np.argsort(-sizes) if number and sizes[number] >= LARGE_MM3]
    score_map = lesion_probabilities(prob_map, threshold=settings.scored_from or settings.threshold)
    scores = {number: score_map[numbers == number].max() for number in large}
    return tuple(
        f"A region of {sizes[number] / 1000:.1f} ml is not in the mask, for its score is below {least:g}. In "
        "metseg's 42 test scans no false positive was as large: look at it with a lesion threshold of "
        f"{np.floor(100 * score) / 100:.2f} (dashboard: Detection), or with more false positives a scan."
        for number, score in scores.items()
        if 0 < score < least  # 0: no voxel reaches the network's own threshold
    )
