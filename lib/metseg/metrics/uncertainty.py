"""How unsure a network is of each pixel, and whether that points at the pixels it gets wrong."""

import numpy as np
import pandas as pd

_FINE = 1000  # bins of uncertainty that pixels are counted in


def entropy(prob_map: np.ndarray, *, threshold: float = 0.5) -> np.ndarray:
    """Returns the entropy of each pixel's decision in bits: 0 where it is sure, 1 at the threshold.

    Args:
        prob_map: float in [0, 1].
        threshold: Where a mask begins; the odds are divided by those of the threshold.

    Returns:
        float32 of the same shape.
    """
    p = np.clip(np.asarray(prob_map, np.float32), 1e-6, 1 - 1e-6)
    p = p * (1 - threshold) / (p * (1 - threshold) + (1 - p) * threshold)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def count_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Counts pixels, and wrong ones, by their uncertainty; the counts of several scans add up.

    Args:
        uncertainty: float in [0, 1], any shape.
        wrong: bool, the same shape: where mask and reference differ.

    Returns:
        (2, K): all pixels and wrong ones, in K bins of equal width, the most certain first.
    """
    place = np.minimum((uncertainty.ravel() * _FINE).astype(int), _FINE - 1)
    return np.stack([np.bincount(place, weights, _FINE) for weights in (None, wrong.ravel())])


def retention(counts: np.ndarray) -> pd.DataFrame:
    """Returns what is left of the errors if a reader corrects the most uncertain pixels.

    Args:
        counts: Of `count_errors`, for one scan or summed over several.

    Returns:
        A row a bin, the most uncertain first, and one before them in which nothing is corrected: referred
        (share of all pixels that the reader sees) and errors_left (share of all errors that stay; nan if
        there are none). Where uncertainty says nothing, errors_left is 1 − referred; the best it can do is to
        fall straight to 0 at the share of pixels that are wrong.

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
