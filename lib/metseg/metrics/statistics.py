"""Intervals and tests over patients: simple, named after their papers, and the same for every table."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats


def bootstrap_interval(values, statistic: Callable = np.mean) -> tuple[float, float]:
    """Returns the 95 % percentile bootstrap interval of a statistic over patients.

    BCa would be unsound for the median.

    Args:
        values: one number a patient, (N,), no nan.
        statistic: takes an array and `axis`, as np.mean and np.median do.

    Returns:
        Lower and upper end; (nan, nan) for fewer than two patients, who say nothing about spread.

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    values = np.asarray(values, dtype=float)
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {values.size} values are nan; drop them first")
    if values.size < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (values,), statistic, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def ratio_interval(numerators, denominators) -> tuple[float, float]:
    """Returns the 95 % percentile bootstrap interval of Σ numerators / Σ denominators, patients resampled.

    Args:
        numerators, denominators: Counts of each patient, (N,), such as lesions found and lesions.

    Returns:
        Lower and upper end; (nan, nan) where fewer than two patients have a denominator.

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    counts = np.stack([np.asarray(numerators, float), np.asarray(denominators, float)], axis=1)
    n = len(counts)
    if np.count_nonzero(counts[:, 1]) < 2:
        return float("nan"), float("nan")
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=10_000)
    above, below = (times @ counts).T
    low, high = np.percentile(above[below > 0] / below[below > 0], [2.5, 97.5])
    return float(low), float(high)


def paired_test(dice_a: pd.Series, dice_b: pd.Series) -> dict:
    """Compares the Dice of two models, indexed by patient_id, the same patients in any order.

    Returns:
        n; n_dropped (patients whose Dice is nan for either model, which hides a false alarm of one model in a
        tumour-free patient); mean_difference (a minus b), mean_difference_low, mean_difference_high (95 %
        bootstrap interval); p_value (two-sided Wilcoxon signed-rank test, Pratt's handling of zeros; 1.0 when
        every difference is zero; nan when no patient is left).

    Raises:
        ValueError: the patients differ, or one is there twice.

    Reference:
        Wilcoxon (1945), Biometrics Bulletin 1:80-83; Pratt (1959), JASA 54:655-667, for the zeros.
    """
    refuse_different(dice_a.index, dice_b.index, "dice_a", "dice_b")
    difference = (dice_a - dice_b.reindex(dice_a.index)).astype(float)
    # rounded, because 0.9 - 0.8 and 0.8 - 0.7 must tie in the ranks
    kept = difference.dropna().round(12).to_numpy()
    low, high = bootstrap_interval(kept)
    p_value = 1.0 if kept.size else np.nan
    if kept.any():
        p_value = stats.wilcoxon(kept, zero_method="pratt").pvalue
    return {
        "n": int(kept.size),
        "n_dropped": int(difference.size - kept.size),
        "mean_difference": float(kept.mean()) if kept.size else float("nan"),
        "mean_difference_low": low,
        "mean_difference_high": high,
        "p_value": float(p_value),
    }


def holm(p_values) -> np.ndarray:
    """Returns p-values, (M,), after Holm's step-down correction; a nan counts as a test and stays nan.

    Reference:
        Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Stat. 6:65-70.
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    # the k-th smallest of M times (M - k), never below a smaller p's result
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    return np.minimum(adjusted, 1.0)


def refuse_different(index_a: pd.Index, index_b: pd.Index, name_a: str, name_b: str) -> None:
    """Raises unless both hold the same patients (or scans), each once; names those that are missing."""
    for index, name in ((index_a, name_a), (index_b, name_b)):
        if index.has_duplicates:
            twice = index[index.duplicated()].unique().tolist()
            raise ValueError(f"{name} holds twice: {twice}; keep one each")
    missing_a, missing_b = index_b.difference(index_a).tolist(), index_a.difference(index_b).tolist()
    if missing_a or missing_b:
        raise ValueError(
            f"{name_a} and {name_b} hold different patients: {name_a} lacks {missing_a}, "
            f"{name_b} lacks {missing_b}; evaluate both on the same test set"
        )
