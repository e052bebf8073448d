"""A volume seen through windows of a network's one size, and joined where they overlap."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import product
from typing import Any

import cv2
import numpy as np

Patch = tuple[int, int, int]  # (z, y, x), voxels of the network's grid
OVERLAP = 0.5  # of a window's side with the next one's, at least
_SIGMAS = 8  # of the weights, in a side


def window_starts(length: int, side: int, overlap: float = OVERLAP) -> list[int]:
    """Returns where windows begin on an axis, evenly spaced, the last where it ends with the axis."""
    last = max(0, length - side)
    steps = math.ceil(last / (side * (1 - overlap)))
    return [round(k * last / steps) for k in range(steps + 1)] if steps else [0]


def gaussian_weights(side: int) -> np.ndarray:
    """Returns voxels' weights along a window, (side,) float32: a network knows best what is in the middle.

    Reference:
        Isensee et al. 2021, "nnU-Net", doi:10.1038/s41592-020-01008-z, online methods, "Inference".
    """
    place = np.arange(side) - (side - 1) / 2
    return np.exp(-0.5 * (place * _SIGMAS / side) ** 2).astype(np.float32)


def cut(volume: np.ndarray, corner: Sequence[int], patch: Patch) -> np.ndarray:
    """Returns the window of a (Z, Y, X, …) array that begins at a corner; beyond the array it is 0."""
    inside = volume[tuple(slice(at, at + side) for at, side in zip(corner, patch, strict=True))]
    if inside.shape[:3] == patch:
        return np.ascontiguousarray(inside)
    window = np.zeros((*patch, *volume.shape[3:]), volume.dtype)
    window[tuple(map(slice, inside.shape[:3]))] = inside
    return window


def sliding_window(
    volume: np.ndarray,
    patch: Patch,
    segment: Callable[[np.ndarray], np.ndarray],
    *,
    overlap: float = OVERLAP,
    over: Callable = map,
) -> np.ndarray:
    """Returns what a network says of a volume, the Gaussian mean over the windows that see a voxel.

    Beside the result it keeps no more windows than `over` computes at once.

    Args:
        volume: (Z, Y, X, C) float32; what is smaller than a window is seen on black.
        patch: A window's sides.
        segment: The network: (*patch, C) to (*patch, K) float32.
        overlap: Of neighbouring windows, a share of their side, in [0, 1).
        over: Applies a function to windows and returns the results in order, such as `map_ahead`.

    Returns:
        (Z, Y, X, K) float32.
    """
    grid = volume.shape[:3]
    starts = [window_starts(length, side, overlap) for length, side in zip(grid, patch, strict=True)]
    corners = list(product(*starts))
    along = [gaussian_weights(side) for side in patch]
    weights = along[0][:, None, None, None] * along[1][:, None, None] * along[2][:, None]
    total = None
    for corner, found in zip(
        corners, over(lambda corner: segment(cut(volume, corner, patch)), corners), strict=True
    ):
        if total is None:
            total = np.zeros((*grid, found.shape[-1]), np.float32)
        place = total[tuple(slice(at, at + side) for at, side in zip(corner, patch, strict=True))]
        place += (weights * found)[tuple(map(slice, place.shape[:3]))]
    for axis, (length, own, begins) in enumerate(zip(grid, along, starts, strict=True)):
        total /= _summed(length, own, begins).reshape([-1 if k == axis else 1 for k in range(4)])
    return total


def plane_maps(
    volume: np.ndarray, patch: Patch, z: int, segment: Callable[[np.ndarray], Sequence[np.ndarray]]
) -> list[np.ndarray]:
    """Returns slice `z` of maps that are coarser than the windows, such as attention gates.

    Of the windows along z only the one whose middle is nearest to the slice is asked.

    Args:
        volume, patch, z: As for `sliding_window`; the slice.
        segment: (*patch, C) to maps (Z', Y', X', 1).

    Returns:
        For each map (Y, X) float32 on the volume's grid.
    """
    (_, high, wide), grid = patch, volume.shape[1:3]
    first = min(window_starts(len(volume), patch[0]), key=lambda at: abs(at + (patch[0] - 1) / 2 - z))
    starts = [window_starts(length, side) for length, side in zip(grid, (high, wide), strict=True)]
    weights = gaussian_weights(high)[:, None] * gaussian_weights(wide)
    totals = []
    for y, x in product(*starts):
        maps = segment(cut(volume, (first, y, x), patch))
        totals = totals or [np.zeros(grid, np.float32) for _ in maps]
        for total, coarse in zip(totals, maps, strict=True):
            plane = coarse[(z - first) * len(coarse) // patch[0], ..., 0]
            fine = cv2.resize(np.ascontiguousarray(plane), (wide, high), interpolation=cv2.INTER_LINEAR)
            place = total[y : y + high, x : x + wide]
            place += (weights * fine)[tuple(map(slice, place.shape))]
    rows, columns = (
        _summed(length, gaussian_weights(side), own)
        for length, side, own in zip(grid, (high, wide), starts, strict=True)
    )
    return [total / rows[:, None] / columns for total in totals]


def map_ahead(pool: Executor, function: Callable, items: Iterable, *, most: int) -> Iterator[Any]:
    """Applies a function in a pool and yields the results in order, `most` of them at work or waiting."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _summed(length: int, weights: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """Returns the sum over an axis's windows of their weights, (length,); the whole sum is their product."""
    total = np.zeros(max(length, starts[-1] + len(weights)), np.float32)
    for start in starts:
        total[start : start + len(weights)] += weights
    return total[:length]
