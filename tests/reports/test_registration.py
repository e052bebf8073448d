"""A head moved by a known amount is laid back."""

import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.reports.registration import register_rigid


def head(shift_mm: tuple[float, float, float], affine: np.ndarray, grid=(24, 32, 32)) -> Volume:
    """An ellipsoid with two unequal balls, whose places are given in mm, moved."""
    z, y, x = np.mgrid[tuple(slice(side) for side in grid)]
    place = np.stack([x, y, z], -1) @ affine[:3, :3].T + affine[:3, 3] - shift_mm
    image = 100.0 * (np.linalg.norm(place / (38, 46, 42), axis=-1) < 1)
    image += 80 * (np.linalg.norm(place - (15, 10, 5), axis=-1) < 10)
    image -= 60 * (np.linalg.norm(place - (-12, -16, -8), axis=-1) < 12)
    return Volume(image[None].astype(np.float32), ("t1c",), affine)


def test_a_known_shift():
    lps = np.diag([-4.0, -4.0, 5.0, 1.0])
    lps[:3, 3] = 62, 62, -58
    ras = np.diag([4.0, 4.0, 5.0, 1.0])
    ras[:3, 3] = -60, -60, -55
    found = register_rigid(head((0, 0, 0), lps), head((6, -4, 3), ras))
    moved = found @ [15, 10, 5, 1]
    np.testing.assert_allclose(moved[:3], [21, 6, 8], atol=0.8)


def test_no_coordinates():
    volume = Volume(np.zeros((1, 4, 4, 4), np.float32), ("t1c",))
    with pytest.raises(MetsegError):
        register_rigid(volume, volume)
