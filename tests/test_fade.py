"""Lesions lose contrast, by as much as was asked, and nothing else changes."""

import cv2
import numpy as np
import pytest

from metseg.fade import fade_lesions

SIZE = 128


def disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[:SIZE, :SIZE]
    return (y - 64) ** 2 + (x - 64) ** 2 <= radius**2


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray]:
    """A head of grey 0.4 with a lesion of radius 8: 0.2, 0.8 and 0.4 in the three channels."""
    image = np.repeat(0.4 * disc(50)[..., None], 3, axis=2).astype(np.float32)
    image[disc(8)] = (0.2, 0.8, 0.4)
    return image, disc(8)


def inner(mask: np.ndarray) -> np.ndarray:
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3)), iterations=4) > 0  # the seam is 1 px wide


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((0, 0, 0), (0.2, 0.8, 0.4)), ((0.5, 0.5, 0.5), (0.3, 0.6, 0.4)), ((0, 1, 1), (0.2, 0.4, 0.4))],
)
def test_each_channel_loses_its_share(head, shares, expected):
    image, mask = head
    faded = fade_lesions(image, mask[None], np.array(shares))
    assert faded.dtype == np.float32
    assert faded[inner(mask)] == pytest.approx(np.tile(expected, (inner(mask).sum(), 1)), abs=0.01)
    outside = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)), iterations=7) == 0
    assert (faded[outside] == image[outside]).all()


def test_texture_stays(head):
    image, mask = head
    image[::2][mask[::2]] += 0.1
    faded = fade_lesions(image, mask[None], np.ones(3))
    assert faded[inner(mask)].std(axis=0) == pytest.approx(image[inner(mask)].std(axis=0), abs=0.002)


def test_each_slice_fades_where_its_own_lesions_are(head):
    image, mask = head
    shares, nothing = np.array([0.1, 0.6, 0.3]), np.zeros_like(mask)
    faded = fade_lesions(np.tile(image, 3), np.stack([nothing, mask, mask]), shares)
    alone = fade_lesions(image, mask[None], shares)
    assert (faded == np.concatenate([image, alone, alone], axis=2)).all()
    assert (alone != image).any()


def test_the_air_beside_a_lesion_is_no_tissue():
    """At the head's rim a lesion of 0.8 fades to the 0.4 of the brain, not towards the black outside."""
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    image[:, :64] = 0.4
    mask = np.zeros((SIZE, SIZE), bool)
    mask[50:70, 44:64] = True
    image[mask] = 0.8
    faded = fade_lesions(image, mask[None], np.ones(3))
    assert faded[inner(mask)] == pytest.approx(0.4, abs=0.01)


def test_grey_values_stay_in_their_range(head):
    image, mask = head
    image[60:64, 60:64] = 0.0
    assert fade_lesions(image, mask[None], np.ones(3)).min() == 0


@pytest.mark.parametrize("grey", [0.0, 0.5])
def test_nothing_to_fade(grey):
    image = np.full((SIZE, SIZE, 3), grey, np.float32)
    assert (fade_lesions(image, np.zeros((1, SIZE, SIZE), bool), np.ones(3)) == image).all()
    assert (
        fade_lesions(image, np.ones((1, SIZE, SIZE), bool), np.ones(3)) == image
    ).all()  # no tissue around
