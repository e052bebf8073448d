import cv2
import numpy as np
import pytest

from metseg.data.volume import Volume
from metseg.preprocessing.pipeline import Preprocessing, clahe, preprocess, view_of
from metseg.serve.dashboard.pictures import (
    EXTRA,
    HIT,
    MISSED,
    clahe_picture,
    comparison_picture,
    for_page,
    gate_picture,
    heat_picture,
    outlines,
)


def size_of(png: bytes) -> tuple[int, int]:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]


def test_the_clahe_view_has_the_size_of_the_slice(noise):
    image = noise(0, (60, 80)) // 2
    config = Preprocessing(image_size=16, clip_limit=3.0, tile_grid=4, intensity="stored")
    expected = clahe(image, clip_limit=3.0, tile_grid=4)[..., 1]
    assert np.array_equal(clahe_picture(image, "FLAIR", config), expected)


@pytest.mark.parametrize("intensity", ["slice", "volume", "tissue", "stored"])
def test_the_clahe_view_is_the_input_of_a_network_that_takes_the_slice_at_its_own_size(noise, intensity):
    image, config = noise(0, (64, 64)) // 3 + 20, Preprocessing(image_size=64, intensity=intensity)
    expected = np.rint(preprocess(image, config, view_of(Volume.of_slice(image), config)) * 255)
    assert np.array_equal(clahe_picture(image, "colour", config), expected)


def test_heat_is_brighter_where_the_probability_is_higher():
    heat = heat_picture(np.linspace(0, 1, 50, dtype=np.float32)[None])
    assert heat.shape == (1, 50, 3) and heat.dtype == np.uint8
    brightness = heat[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all() and brightness[0] < 5 and brightness[-1] > 240


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_a_gate_is_stretched_from_its_lowest_to_its_highest(shape):
    gate = np.full((8, 8), 0.4, np.float32)
    gate[2, 2] = 0.6
    shown = gate_picture(np.zeros(shape, np.uint8), gate)
    assert shown.shape == (8, 8, 3) and shown[2, 2].min() > 100 and shown[0, 0].max() < 5
    even = gate_picture(np.zeros(shape, np.uint8), np.ones((8, 8), np.float32))
    assert even.max() < 5  # shut


def test_a_comparison_tells_its_three_parts_apart_by_colour_and_by_stripes():
    mask, reference = np.zeros((2, 60, 60), bool)
    mask[10:50, 10:30], reference[10:50, 20:40] = True, True
    shown = comparison_picture(np.zeros((60, 60), np.uint8), mask, reference, opacity=0.8)
    inside = {HIT: shown[12:48, 21:29], EXTRA: shown[12:48, 11:19], MISSED: shown[12:48, 31:39]}
    for colour, part in inside.items():
        ink = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
        strongest = part.reshape(-1, 3)[part.sum(axis=-1).argmax()]
        assert np.abs(strongest - 0.8 * ink).max() < 40  # the stripes lie on a light tint
    kinds = {colour: len(np.unique(part.reshape(-1, 3), axis=0)) for colour, part in inside.items()}
    assert kinds == {HIT: 1, EXTRA: 2, MISSED: 2}
    striped = [part.sum(axis=-1) > part.sum(axis=-1).mean() for part in (inside[EXTRA], inside[MISSED])]
    # The stripes of one run up, of the other down: each stays the same along its own diagonal alone.
    assert np.array_equal(striped[0][1:, :-1], striped[0][:-1, 1:])
    assert np.array_equal(striped[1][1:, 1:], striped[1][:-1, :-1])
    assert not shown[~mask & ~reference].any()


def test_outlines_are_in_the_order_of_the_lesions():
    numbers = np.zeros((20, 20), np.int32)
    numbers[2:5, 3:7], numbers[10, 10], numbers[15:17, 1:3] = 2, 3, 1
    first, second, third = (np.reshape(parts[0], (-1, 2)) for parts in outlines(numbers, 100))
    assert (first.min(axis=0).tolist(), first.max(axis=0).tolist()) == ([1, 15], [2, 16])
    assert (second.min(axis=0).tolist(), second.max(axis=0).tolist()) == ([3, 2], [6, 4])
    assert third.tolist() == [[10, 10]]


def test_a_lesion_in_the_hole_of_another_has_an_outline_and_the_hole_has_none():
    numbers = np.zeros((20, 20), np.int32)
    numbers[2:18, 2:18] = 1
    numbers[5:15, 5:15] = 0
    numbers[8:11, 8:11] = 2
    ring, core = outlines(numbers, 100)
    assert len(ring) == len(core) == 1
    for (border,), (low, high) in ((ring, (2, 17)), (core, (8, 10))):
        points = np.reshape(border, (-1, 2))
        assert points.min(axis=0).tolist() == [low, low] and points.max(axis=0).tolist() == [high, high]


def test_outlines_stop_at_the_most_that_is_asked_for():
    numbers = np.zeros((20, 20), np.int32)
    numbers[2, 2], numbers[5, 5] = 1, 2
    assert len(outlines(numbers, 1)) == 1 and outlines(np.zeros((4, 4), np.int32), 5) == []


def test_a_picture_is_shrunk_to_what_a_page_shows():
    assert size_of(for_page(np.zeros((2000, 500), np.uint8))) == (1024, 256)
    assert size_of(for_page(np.zeros((300, 200, 3), np.uint8))) == (300, 200)
    assert size_of(for_page(np.zeros((4000, 1), np.uint8))) == (1024, 1)
