"""What one network and the settings make of a slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metseg.masks.lesions import Lesion, measure_lesions
from metseg.masks.postprocess import Postprocessing, postprocess


@dataclass(frozen=True, eq=False)
class NetworkResult:
    """What is shown of one network.

    Attributes:
        network: Its name.
        settings: What made the mask of the probabilities.
        prob_map: (H, W) float32.
        mask: (H, W) bool.
        lesions: Largest first.
        numbers: (H, W) int32, the number of the lesion in each pixel, 0 outside.
    """

    network: str
    settings: Postprocessing
    prob_map: np.ndarray
    mask: np.ndarray
    lesions: list[Lesion]
    numbers: np.ndarray


def result_of(
    network: str, prob_map: np.ndarray, settings: Postprocessing, *, spacing_mm: Sequence[float] | None
) -> NetworkResult:
    """Makes and measures the mask of a network's (H, W) probabilities."""
    mask = postprocess(prob_map, settings)
    return NetworkResult(
        network, settings, prob_map, mask, *measure_lesions(mask, prob_map, spacing_mm=spacing_mm)
    )
