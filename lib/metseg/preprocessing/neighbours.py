"""A slice with those below and above it: 2.5 dimensions for a network of two."""

from collections.abc import Sequence

import numpy as np


def neighbour_rows(lengths: Sequence[int], count: int) -> np.ndarray:
    """Returns for each slice of volumes of these `lengths` the rows of itself and of `count` on each side.

    They are (N, 1 + 2 · count) int32: the slice itself, then one below, one above, two below, two above, …
    Beyond a volume's first and last slice these stand in, so that a slice alone is its own neighbour.
    """
    lengths = np.asarray(lengths)
    rows = np.arange(lengths.sum())
    last = np.repeat(lengths.cumsum() - 1, lengths)
    first = last + 1 - np.repeat(lengths, lengths)
    steps = [0, *(step for k in range(1, count + 1) for step in (-k, k))]
    beside = [np.clip(rows + step, first, last) for step in steps]
    return np.stack(beside, axis=1).astype(np.int32)  # a data set may have many slices


def stacked(slices: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Joins the channels of (N, S, S, C) slices by (M, K) rows that go together: (M, S, S, K · C)."""
    return np.concatenate([slices[column] for column in rows.T], axis=-1)
