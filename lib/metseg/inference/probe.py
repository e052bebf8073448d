"""What preprocessing makes of a drawn head, in some numbers: by them a model knows its preprocessing again.

A hash of all pixels would change with the CPU, for OpenCV rounds by what instructions there are. Means over
many pixels change with what is computed alone, whether by metseg or by another OpenCV or NumPy.
"""

import numpy as np

from metseg.data.volume import Volume
from metseg.preprocessing.pipeline import Preprocessing, network_input

_BLOCKS = 4  # along each side
_TOLERANCE = 1e-3  # a quarter of a grey value of 255, over some hundred pixels at least


def probe(config: Preprocessing) -> list[float]:
    """Returns means in [0, 1] of the network input of a drawn slice, by block and by channel."""
    _, small, _ = network_input(Volume.of_slices(_drawn()), config)
    rows = np.array_split(small.mean(axis=-1), _BLOCKS)
    blocks = [part.mean() for row in rows for part in np.array_split(row, _BLOCKS, axis=1)]
    return [round(float(mean), 5) for mean in (*blocks, *small.mean(axis=(0, 1)))]


def is_as_before(before: list[float], config: Preprocessing) -> bool:
    """Returns whether `probe` still gives what it gave before."""
    now = probe(config)
    return len(before) == len(now) and bool(np.allclose(before, now, rtol=0, atol=_TOLERANCE))


def _drawn() -> np.ndarray:
    """Returns three slices, (3, 64, 56, 3) uint8, of whole numbers, which are the same everywhere."""
    z, y, x, c = np.mgrid[:3, :64, :56, :3]
    head = (9 * (y - 32)) ** 2 + (10 * (x - 28)) ** 2 < 260**2
    lesion = (y - 20) ** 2 + (x - 36) ** 2 < 30
    tissue = 40 + (7 * x + 13 * y + 29 * z + 17 * c) % 83 + x * y % 37
    return np.where(head, np.where(lesion, 200 + 20 * c, tissue), 2 * c).astype(np.uint8)
