"""The head's box on drawn heads."""

import cv2
import numpy as np
import pytest

from metseg.masks.head import head_box, head_region


def head(shape=(100, 80), rows=slice(10, 90), columns=slice(15, 65), grey=100) -> np.ndarray:
    image = np.zeros((*shape, 3), np.uint8)
    image[rows, columns] = grey
    return image


def edges(box) -> list[int]:
    return [box[0].start, box[0].stop, box[1].start, box[1].stop]


def test_box_with_its_margin():
    # 2 % of 100 px on each side
    assert edges(head_box(head())) == pytest.approx([8, 92, 13, 67], abs=1)


def test_noise_and_a_small_bright_thing_beside_the_head_are_left_out():
    rng = np.random.default_rng(0)
    image = head() + rng.integers(0, 12, (100, 80, 3)).astype(np.uint8)
    image[2:6, 74:78] = 255
    assert edges(head_box(image)) == pytest.approx([8, 92, 13, 67], abs=2)


def test_a_volume_has_one_box_for_all():
    volume = np.stack([head(), head(rows=slice(30, 60), columns=slice(30, 50)), head()])
    assert edges(head_box(volume)) == pytest.approx([8, 92, 13, 67], abs=1)


def test_a_small_section_is_not_blown_up():
    rows, columns = head_box(head(rows=slice(40, 60), columns=slice(30, 50)))
    assert rows.stop - rows.start == pytest.approx(70, abs=1)  # 0.7 of 100
    assert (rows.start + rows.stop) / 2 == pytest.approx(50, abs=1)
    assert (columns.start + columns.stop) / 2 == pytest.approx(40, abs=1)


def test_a_small_section_in_a_corner_is_not_blown_up_either():
    rows, columns = head_box(head(shape=(100, 100), rows=slice(2, 22), columns=slice(75, 95)))
    assert (rows.start, columns.stop) == (0, 100)
    assert rows.stop - rows.start == columns.stop - columns.start == pytest.approx(70, abs=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (17, 301), (2000, 3)])
@pytest.mark.parametrize("grey", [0, 1, 255])
def test_any_size_and_any_grey_has_a_box_within(shape, grey):
    rows, columns = head_box(np.full((*shape, 3), grey, np.uint8))
    assert 0 <= rows.start < rows.stop <= shape[0] and 0 <= columns.start < columns.stop <= shape[1]


def test_the_region_is_the_largest_above_half_of_the_threshold():
    mean = np.zeros((64, 64), np.float32)
    mean[10:40, 10:40] = 100
    mean[30:40, 10:40] = 80  # fainter, and of the head
    mean[50:54, 50:54] = 200  # brighter, and smaller
    region = head_region(mean)
    assert region[11:39, 11:39].all() and not region[45:].any()
    region[9:41, 9:41] = False  # it is smoothed before: a pixel beyond the edge may belong to it
    assert not region.any()
    assert not head_region(np.zeros((8, 8), np.float32)).any()


def test_a_large_slice_has_the_box_of_the_same_slice_made_small():
    shape = 1600, 2000
    scale = max(shape) // 100
    small = head(tuple(n // scale for n in shape), slice(10, 60), slice(15, 65))
    large = np.repeat(np.repeat(small, scale, axis=0), scale, axis=1)
    expected = [scale * edge for edge in edges(head_box(small))]
    assert edges(head_box(large)) == pytest.approx(expected, abs=0.01 * max(shape))


@pytest.mark.parametrize("shape", [(244, 16_384), (16_384, 244), (1, 16_384)])
def test_a_long_strip_is_smoothed_on_a_copy_of_bounded_length(shape, monkeypatch):
    # Smoothing takes as many steps a pixel as the slice is long: a small file would cost seconds.
    smoothed, blur = [], cv2.GaussianBlur
    monkeypatch.setattr(cv2, "GaussianBlur", lambda a, *rest: smoothed.append(a.shape) or blur(a, *rest))
    region = head_region(np.full(shape, 100, np.float32))
    assert region.shape == shape and region.all()
    assert max(max(each) for each in smoothed) <= 1024
