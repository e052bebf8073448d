"""Pasted lesions lie within the head, whole, with their mask, and nothing else changes."""

import cv2
import numpy as np
import pytest

from metseg.training.copy_paste import paste_lesion

SIZE = 128


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def disc(centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.ogrid[:SIZE, :SIZE]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


@pytest.fixture
def head() -> np.ndarray:
    """A grey head of radius 50 in air."""
    return np.repeat(0.4 * disc((64, 64), 50)[..., None], 3, axis=2).astype(np.float32)


@pytest.fixture
def donor(head) -> tuple[np.ndarray, np.ndarray]:
    """A head with a lesion of radius 6, each channel its own grey."""
    lesion = disc((40, 80), 6)
    image = head.copy()
    image[lesion] = (0.2, 0.9, 0.6)
    return image, lesion


def test_of_several_regions_all_is_pasted_as_what_it_was(head, donor):
    image, rim = donor
    core = disc((40, 80), 3)
    own = np.zeros((SIZE, SIZE, 2), bool)
    own[..., 0] = disc((64, 64), 30)  # of the slice's own first region, nearly everywhere
    pasted, masks = paste_lesion(head, own, image, np.stack([core, rim], axis=-1), generator())
    alone, one = paste_lesion(head, own[..., 0], image, rim, generator())
    np.testing.assert_array_equal(pasted, alone)  # the same pixels, whatever they are called
    np.testing.assert_array_equal(masks[..., 1], one & (masks[..., 1] | ~own[..., 0]))
    assert masks[..., 1].sum() == rim.sum()
    ring = masks[..., 1] & ~masks[..., 0]
    assert ring.sum() == rim.sum() - core.sum()  # also where the slice's own region was


def test_a_lesion_comes_whole_and_with_its_mask(head, donor):
    places = []
    for seed in range(40):
        image, mask = paste_lesion(head, np.zeros((SIZE, SIZE), bool), *donor, generator(seed))
        assert image.shape == head.shape and image.dtype == np.float32 and mask.dtype == bool
        place = np.argwhere(mask).mean(axis=0)
        assert (mask == disc(tuple(np.rint(place).astype(int)), 6)).all()
        within = cv2.erode(mask.astype(np.uint8), np.ones((3, 3)), iterations=3) > 0  # the seam is 1 px wide
        assert image[within] == pytest.approx(np.tile((0.2, 0.9, 0.6), (within.sum(), 1)), abs=0.01)
        outside = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)), iterations=7) == 0
        assert (image[outside] == head[outside]).all()
        places.append(place)
    distance = np.linalg.norm(np.array(places) - 64, axis=1)
    assert distance.max() <= 50 - 0.11 * SIZE + 2  # a seventh of the head's radius and more below its edge
    assert np.std(places, axis=0).min() > 10  # anywhere


def test_a_small_lesion_is_seen(head):
    lesion = np.zeros((SIZE, SIZE), bool)
    lesion[39:42, 79:82] = True
    bright = np.where(lesion[..., None], np.float32(1), head)
    image, mask = paste_lesion(head, np.zeros((SIZE, SIZE), bool), bright, lesion, generator())
    # Its own contrast, 1 beside 0.4, but for what the seam takes.
    assert mask.sum() == 9 and image[mask].min() > 0.4 + 0.95 * 0.6


def test_what_would_lie_on_the_rim_is_cut_off(head, donor):
    image, _ = donor
    large = disc((64, 64), 30)
    for seed in range(10):
        _, mask = paste_lesion(head, np.zeros((SIZE, SIZE), bool), image, large, generator(seed))
        assert not mask[~disc((64, 64), 44)].any()  # 0.06 of 128 px below the edge at 50, and rounding


def test_own_lesions_stay(head, donor):
    own = disc((64, 40), 8)
    _, mask = paste_lesion(head, own, *donor, generator())
    assert mask[own].all() and mask.sum() > own.sum()


def test_nothing_is_changed_in_place(head, donor):
    arrays = [head, np.zeros((SIZE, SIZE), bool), *donor]
    before = [array.copy() for array in arrays]
    paste_lesion(*arrays, generator())
    assert all((one == other).all() for one, other in zip(arrays, before, strict=True))


@pytest.mark.parametrize(("radius", "grey"), [(0, 0.0), (15, 0.4), (50, 0.1)])
def test_a_slice_without_a_head_stays_as_it_is(donor, radius, grey):
    # A disc of radius 15 is 4 % of the slice: the scalp above the vertex. What is faint is noise.
    image = np.repeat(grey * disc((64, 64), radius)[..., None], 3, axis=2).astype(np.float32)
    empty = np.zeros((SIZE, SIZE), bool)
    same, mask = paste_lesion(image, empty, *donor, generator())
    assert same is image and mask is empty


def test_a_donor_without_lesion_gives_nothing(head):
    empty = np.zeros((SIZE, SIZE), bool)
    same, mask = paste_lesion(head, empty, head, empty, generator())
    assert same is head and mask is empty


def test_neighbours_are_pasted_alike(head, donor):
    image, lesion = donor
    pair = np.tile(head, 3), np.zeros((SIZE, SIZE), bool)
    pasted, mask = paste_lesion(*pair, np.tile(image, 3), lesion, generator())
    assert (pasted == np.tile(pasted[..., :3], 3)).all() and mask.any()
