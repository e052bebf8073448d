"""Whether probabilities mean what they say: of all pixels that are given 0.7, seven in ten should be lesion.

Counted are the pixels that a network gives a probability of 0.01 or more. Of the others, nearly all of a
scan, nearly everything is right, and with them any network would look calibrated.
"""

import numpy as np
import pandas as pd
from scipy import optimize

LEAST = 0.01  # the probability from which a pixel counts
_FINE = 500  # bins that pixels are counted in; ten of them tell a curve, these a temperature


def count_pixels(prob_map: np.ndarray, mask_ref: np.ndarray) -> np.ndarray:
    """Counts the pixels of a scan by their probability; the counts of several scans add up.

    Args:
        prob_map: float in [0, 1], any shape.
        mask_ref: bool, the same shape.

    Returns:
        (3, K): pixels, the sum of their probabilities, and those that are lesion in the reference, in K
        bins of equal width.
    """
    counted = prob_map >= LEAST
    p, lesion = prob_map[counted].astype(np.float64), mask_ref[counted]
    place = np.minimum((p * _FINE).astype(int), _FINE - 1)
    return np.stack([np.bincount(place, weights, _FINE) for weights in (None, p, lesion)])


def reliability(counts: np.ndarray, *, bins: int = 10) -> pd.DataFrame:
    """Returns what a reliability curve shows.

    Args:
        counts: Of `count_pixels`, for one scan or summed over several.
        bins: Bins of equal width.

    Returns:
        A row a bin that has pixels: pixels, probability (their mean), lesion_share.

    Reference:
        DeGroot & Fienberg 1983, "The comparison and evaluation of forecasters", The Statistician 32:12–22.
    """
    place = np.arange(_FINE) * bins // _FINE
    pixels, probability, lesion = (np.bincount(place, each, bins) for each in counts)
    table = pd.DataFrame({"pixels": pixels.astype(int), "probability": probability, "lesion_share": lesion})
    table = table[table.pixels > 0].reset_index(drop=True)
    return table.assign(
        probability=table.probability / table.pixels, lesion_share=table.lesion_share / table.pixels
    )


def expected_calibration_error(counts: np.ndarray, *, bins: int = 10) -> float:
    """Returns the mean distance between probability and share of lesion, over bins weighed by pixels.

    Reference:
        Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 29
        (of two classes: the probability of lesion, not the confidence in whatever is predicted).
    """
    table = reliability(counts, bins=bins)
    distance = (table.probability - table.lesion_share).abs()
    return float(np.average(distance, weights=table.pixels)) if len(table) else float("nan")


def fit_temperature(counts: np.ndarray) -> float:
    """Returns the temperature T with which `with_temperature` makes the reference most likely.

    To be fitted on validation patients. It moves no pixel past another: whatever mask a threshold gave
    before, another threshold gives afterwards.

    Reference:
        Guo et al. 2017, arXiv:1706.04599, section 4.2, for one class.
    """
    pixels, probability, lesion = counts[:, counts[0] > 0]
    if len(pixels) == 0:
        return 1.0  # nothing speaks for another one

    def loss(log_t: float) -> float:
        p = with_temperature(probability / pixels, np.exp(log_t))
        return -float((lesion * np.log(p) + (pixels - lesion) * np.log1p(-p)).sum())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def at_temperature(counts: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the counts of the same pixels after `with_temperature`, to the width of a bin."""
    pixels, probability, lesion = counts
    p = with_temperature(probability / np.maximum(pixels, 1), temperature)
    place = np.minimum((p * _FINE).astype(int), _FINE - 1)
    return np.stack([np.bincount(place, weights, _FINE) for weights in (pixels, p * pixels, lesion)])


def with_temperature(prob_map: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities whose logits are divided by a temperature: above 1 they are less sure."""
    p = np.clip(np.asarray(prob_map, np.float64), 1e-7, 1 - 1e-7)
    return 1 / (1 + np.clip(((1 - p) / p) ** (1 / temperature), 1e-12, 1e12))
