"""How times grow: exponents of power laws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

_SIDES = ("training", "inference")


def fitted_exponent(sizes: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Returns k of times = c · sizes**k, by least squares on the logarithms, and its standard error.

    Args:
        sizes: Two or more, not all the same; of two alone the standard error is nan.
        times: As many, above 0.
    """
    x, y = (np.log(values) - np.mean(np.log(values)) for values in (sizes, times))
    exponent = float(x @ y / (x @ x))
    freedom, residuals = len(x) - 2, y - exponent * x
    error = float(np.sqrt(residuals @ residuals / freedom / (x @ x))) if freedom else float("nan")
    return exponent, error


def scaling_table(results: pd.DataFrame) -> pd.DataFrame:
    """Returns one row for each curve of the groups `scaling-…`.

    Columns:
        task, network: As in `results_table`.
        over: What grows, pixels (of an image) or slices (of a data set).
        points: How many sizes were measured.
        exponent: Of the median time of a step, whose batch is the same at all sizes.
        standard_error: Of the exponent: how far the points are from a power law, not how repeatable they are.
    """
    rows = []
    curves = results[results.group.str.startswith("scaling-")]
    for (task, network), curve in curves.groupby(["task", "network"], sort=False):
        if len(curve) < 2:
            continue
        by_pixels = task in _SIDES
        sizes = curve["size"].to_numpy(float) ** (2 if by_pixels else 1)
        times = 1 / curve["median"] if (curve.unit == "images/s").all() else curve["median"]
        exponent, standard_error = fitted_exponent(sizes, times.to_numpy())
        rows.append({
            "task": task,
            "network": network,
            "over": "pixels" if by_pixels else "slices",
            "points": len(curve),
            "exponent": exponent,
            "standard_error": standard_error,
        })  # fmt: skip
    columns = ["task", "network", "over", "points", "exponent", "standard_error"]
    return pd.DataFrame(rows, columns=columns)
