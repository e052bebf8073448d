"""Windows cover a volume evenly, and what they say of it is joined without a seam."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from metseg.inference.sliding_window import (
    cut,
    gaussian_weights,
    map_ahead,
    plane_maps,
    sliding_window,
    window_starts,
)

PATCH = (4, 8, 6)


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).random((11, 13, 9, 3), np.float32)


def test_windows_by_hand():
    assert window_starts(8, 8) == [0] and window_starts(5, 8) == [0]
    assert window_starts(16, 8) == [0, 4, 8]  # half of a window is the largest step
    assert window_starts(17, 8) == [0, 3, 6, 9]
    assert window_starts(17, 8, overlap=0) == [0, 4, 9]  # side by side would leave one out


def test_weights_by_hand():
    weights = gaussian_weights(9)  # sigma 9/8
    assert weights[4] == 1 and weights[3] == weights[5] == pytest.approx(np.exp(-0.5 * (8 / 9) ** 2))
    assert gaussian_weights(8)[3] == gaussian_weights(8)[4]  # as far to the left as to the right


def test_the_mean_by_hand():
    """Two windows of 4 begin at 0 and 2; each says its own number everywhere."""
    said = iter([[1.0], [3.0]])
    volume = np.zeros((6, 1, 1, 1), np.float32)
    got = sliding_window(volume, (4, 1, 1), lambda _: np.full((4, 1, 1, 1), next(said)[0], np.float32))
    near, far = np.exp(-0.5 * (0.5 * 2) ** 2), np.exp(-0.5 * (1.5 * 2) ** 2)
    second = (near * 1 + far * 3) / (near + far)
    np.testing.assert_allclose(got.ravel(), [1, 1, second, 4 - second, 3, 3], rtol=1e-6)


@pytest.mark.parametrize("grid", [(11, 13, 9), (2, 8, 3), (4, 30, 6)])
def test_what_depends_on_a_voxel_alone_is_the_same_by_windows(grid):
    volume = np.random.default_rng(1).random((*grid, 3), np.float32)
    got = sliding_window(volume, PATCH, lambda window: window[..., :2] ** 2)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, volume[..., :2] ** 2, rtol=1e-5)


def test_threads_change_nothing(volume):
    with ThreadPoolExecutor(3) as pool:
        ahead = partial(map_ahead, pool, most=4)
        got = sliding_window(volume, PATCH, lambda window: window * window.mean(), over=ahead)
    np.testing.assert_array_equal(got, sliding_window(volume, PATCH, lambda window: window * window.mean()))


def test_no_more_results_wait_than_asked():
    started = []
    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, started.append, range(100), most=3)
        next(results)
        assert len(started) <= 3


def test_beyond_the_volume_it_is_black(volume):
    window = cut(volume, (9, 10, 5), PATCH)
    assert window.shape == (*PATCH, 3)
    np.testing.assert_array_equal(window[:2, :3, :4], volume[9:, 10:, 5:])
    assert not window[2:].any() and not window[:, 3:].any() and not window[:, :, 4:].any()


def test_a_slice_of_coarse_maps(volume):
    """Maps as fine as the window, and half as fine along z."""
    (same,) = plane_maps(volume, PATCH, 6, lambda window: [window[..., :1]])
    np.testing.assert_allclose(same, volume[6, ..., 0], rtol=1e-5)
    ramp = np.broadcast_to(np.arange(11, dtype=np.float32)[:, None, None, None], (11, 13, 9, 1))
    (coarse,) = plane_maps(ramp, PATCH, 6, lambda window: [window.reshape(2, 2, 8, 6, 1).mean(1)])
    np.testing.assert_allclose(coarse, 6.5, rtol=1e-5)  # the mean of slices 6 and 7
