"""Whether probabilities mean what they say, and how unsure a network is of each pixel.

Calibration counts the pixels that a network gives a probability of 0.01 or more. Of the others, nearly all of
a scan, nearly everything is right, and with them any network would look calibrated.
"""

import numpy as np
import pandas as pd

LEAST = 0.01  # the probability from which a pixel counts
_BINS = 10


def count_pixels(prob_map: np.ndarray, mask_ref: np.ndarray) -> np.ndarray:
    """Returns the pixels of a scan, the sum of their probabilities and those that are lesion, (3, 10).

    In ten bins of equal width of probability; the counts of several scans add up.
    """
    counted = prob_map >= LEAST
    p = prob_map[counted].astype(np.float64)
    place = np.minimum((p * _BINS).astype(int), _BINS - 1)
    return np.stack([np.bincount(place, each, _BINS) for each in (None, p, mask_ref[counted])])


def reliability(counts: np.ndarray) -> pd.DataFrame:
    """Returns what a reliability curve shows, from `count_pixels` of one scan or summed over several.

    Returns:
        A row a bin that has pixels: pixels, probability (their mean), lesion_share.

    Reference:
        DeGroot & Fienberg 1983, "The comparison and evaluation of forecasters", The Statistician 32:12–22.
    """
    pixels, probability, lesion = counts[:, counts[0] > 0]
    shares = {"probability": probability / pixels, "lesion_share": lesion / pixels}
    return pd.DataFrame({"pixels": pixels.astype(int), **shares})


def expected_calibration_error(counts: np.ndarray) -> float:
    """Returns the mean distance between probability and share of lesion, over bins weighed by pixels.

    Reference:
        Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 29
        (of two classes: the probability of lesion, not the confidence in whatever is predicted).
    """
    table = reliability(counts)
    distance = (table.probability - table.lesion_share).abs()
    return float(np.average(distance, weights=table.pixels)) if len(table) else float("nan")


def entropy(prob_map: np.ndarray, *, threshold: float = 0.5) -> np.ndarray:
    """Returns the entropy of each pixel's decision in bits, float32: 0 where it is sure, 1 at the threshold.

    The odds are divided by those of the threshold, where a mask begins.
    """
    p = np.clip(np.asarray(prob_map, np.float32), 1e-6, 1 - 1e-6)
    p = p * (1 - threshold) / (p * (1 - threshold) + (1 - p) * threshold)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
