"""What a segmented slice shows: each lesion's size, place and probability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metseg.masks.components import number_lesions


@dataclass(frozen=True)
class Lesion:
    """One lesion of a slice: pixels that touch, corners included."""

    number: int  # 1 is the largest; of equals, the one that comes first row by row
    area_px: int
    area_mm2: float | None  # None where the pixels' size is unknown
    diameter_px: float  # of the disk of the same area
    diameter_mm: float | None
    row: float  # centroid, px from the centre of the upper left pixel
    column: float
    mean_probability: float
    max_probability: float


def measure_lesions(
    mask: np.ndarray, prob_map: np.ndarray, *, spacing_mm: Sequence[float] | None = None
) -> tuple[list[Lesion], np.ndarray]:
    """Measures the lesions of one slice, of (H, W) bool mask and probability map, else a `ValueError`.

    Returns:
        The lesions, largest first, and (H, W) int32: 0 outside, else the number of the lesion.
    """
    if mask.ndim != 2 or mask.shape != prob_map.shape:
        raise ValueError(f"mask is {mask.shape}, prob_map {prob_map.shape}; give both of one (H, W)")
    labels, areas = number_lesions(mask)
    first = np.unique(labels[mask], return_index=True)[1]  # OpenCV numbers blocks of 2 × 2, not pixels
    order = np.lexsort((first, -areas[1:])) + 1
    rank = np.zeros(len(areas), np.int32)
    rank[order] = np.arange(1, len(areas))
    numbers = rank[labels]
    inside = numbers > 0
    rows, columns = np.nonzero(inside)
    of, n = numbers[inside], len(areas)
    probabilities = prob_map[inside].astype(np.float64)
    count = np.bincount(of, minlength=n)[1:]
    means = [np.bincount(of, v, n)[1:] / count for v in (rows, columns, probabilities)]
    highest = np.zeros(n)
    np.maximum.at(highest, of, probabilities)
    pixel_mm2 = None if spacing_mm is None else spacing_mm[1] * spacing_mm[2]
    lesions = []
    for k, area in enumerate(count.tolist()):
        area_mm2 = None if pixel_mm2 is None else area * pixel_mm2
        diameters = _disk_diameter(area), None if area_mm2 is None else _disk_diameter(area_mm2)
        of_pixels = (float(each[k]) for each in (*means, highest[1:]))
        lesions.append(Lesion(k + 1, area, area_mm2, *diameters, *of_pixels))
    return lesions, numbers


def least_pixels(area_mm2: float, spacing_mm: Sequence[float]) -> int:
    """Returns the fewest pixels of a slice with this voxel size (z, y, x) that have at least this area."""
    pixels = area_mm2 / (spacing_mm[1] * spacing_mm[2])
    return math.ceil(pixels * (1 - 1e-9))  # the area of n pixels gives n, however it was rounded


def _disk_diameter(area: float) -> float:
    return 2 * math.sqrt(area / math.pi)
