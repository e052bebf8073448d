"""Whether probabilities mean what they say, and whether doubt points at the pixels that are wrong.

Calibration counts the pixels that a network gives a probability of 0.01 or more. Of the others, nearly all of
a scan, nearly everything is right, and with them any network would look calibrated.
"""

import numpy as np
import pandas as pd

LEAST = 0.01  # the probability from which a pixel counts
_BINS, _FINE_BINS = 10, 1000  # of probability, and of uncertainty


def count_pixels(prob_map: np.ndarray, mask_ref: np.ndarray) -> np.ndarray:
    """Returns the pixels of a scan, the sum of their probabilities and those that are lesion, (3, 10).

    In ten bins of equal width of probability; the counts of several scans add up.
    """
    counted = prob_map >= LEAST
    p = prob_map[counted].astype(np.float64)
    return _binned(p, _BINS, p, mask_ref[counted])


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


def count_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Returns the pixels of a scan and the wrong ones, (2, 1000), in bins of their uncertainty in [0, 1].

    The most certain come first; the counts of several scans add up.
    """
    return _binned(uncertainty.ravel(), _FINE_BINS, wrong.ravel())


def _binned(values: np.ndarray, bins: int, *weights: np.ndarray) -> np.ndarray:
    """Returns how many values in [0, 1] fall into each bin, then the sums of their weights."""
    place = np.minimum((values * bins).astype(int), bins - 1)
    return np.stack([np.bincount(place, each, bins) for each in (None, *weights)])


def retention(counts: np.ndarray) -> pd.DataFrame:
    """Returns what is left of the errors if a reader corrects the most uncertain pixels.

    Returns:
        A row a bin of `count_errors`, the most uncertain first, and one before them in which nothing is
        corrected: referred (share of all pixels that the reader sees) and errors_left (share of all errors
        that stay; nan if there are none). By chance errors_left is 1 − referred.

    Reference:
        Malinin et al. 2021, "Shifts", arXiv:2107.07455, section 2 (error-retention curves).
    """
    pixels, wrong = (np.r_[0, each[::-1].cumsum()] for each in counts)
    left = 1 - wrong / (wrong[-1] or np.nan)
    return pd.DataFrame({"referred": pixels / (pixels[-1] or np.nan), "errors_left": left})


def retention_gain(counts: np.ndarray) -> float:
    """Returns how far uncertainty comes from saying nothing, 0, to pointing at every error first, 1.

    It is the area between the curve of `retention` and that of chance, as a share of the area for the best;
    nan if no pixel is wrong, or every one.

    Reference:
        Malinin et al. 2020, "Ensemble Distribution Distillation", arXiv:1905.00076 (prediction rejection
        ratio).
    """
    table, (pixels, wrong) = retention(counts), counts.sum(axis=1)
    if wrong in (0, pixels):
        return float("nan")
    won = 0.5 - np.trapezoid(table.errors_left, table.referred)
    return float(won / (0.5 - wrong / pixels / 2))
