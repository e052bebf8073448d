"""Faults of pixels that no decoder sees, in scans drawn by hand: a head of 24 × 24 px in 40 × 40."""

from pathlib import Path

import numpy as np
import pytest

from metseg.data.check_pixels import SlicePixels, pixel_findings
from metseg.data.phantom.draw import draw_phantom

INNER, HEAD = slice(16, 20), slice(8, 32)


def head(seed: int = 0) -> np.ndarray:
    image = np.zeros((40, 40, 3), np.uint8)
    image[HEAD, HEAD] = np.random.default_rng(seed).integers(60, 200, (24, 24, 3))
    return image


def lesion(z: int = 0) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[INNER, 16 + z : 20 + z] = 255
    return mask


def scan(slices: int = 6, image=lambda pixels, z: pixels, mask=lambda pixels, z: pixels) -> list[SlicePixels]:
    """Returns a sound scan, or one that is changed slice by slice."""
    return [
        SlicePixels(Path(f"P_{z}.tif"), image(head(z), z), Path(f"P_{z}_mask.tif"), mask(lesion(z), z))
        for z in range(slices)
    ]


def told(slices: list[SlicePixels]) -> list[tuple[bool, str]]:
    return [(finding.error, finding.text) for finding in pixel_findings("P", slices)]


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_a_sound_scan_has_no_fault():
    assert told(scan()) == []


def test_the_phantom_has_no_fault_and_each_of_its_masks_inverted_has_one():
    case = draw_phantom(1, size=64, slices=6, pixel_mm=200 / 64)

    def slices(masks):
        return [
            SlicePixels(Path(f"P_{z}.tif"), image, Path(f"P_{z}_mask.tif"), mask.astype(np.uint8) * 255)
            for z, (image, mask) in enumerate(zip(case.image, masks, strict=True))
        ]

    assert told(slices(case.mask)) == []
    ((error, text),) = told(slices(~case.mask))
    assert error and "inverted" in text and "6 of 6 masks" in text


@pytest.mark.parametrize("wrong", [{0, 1, 2, 3, 4, 5}, {3}])
@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.full((40, 40), 255, np.uint8), "inverted"),
        (255 - lesion(), "inverted"),
        (rectangle(HEAD, HEAD), "half of the head"),
        (rectangle(slice(8, 32), slice(8, 23)), "half of the head"),  # 15 of 24 columns
        (rectangle(slice(0, 40), slice(0, 2)), "border"),  # 42 of 156 px
        (255 - rectangle(slice(2, 38), slice(2, 38)), "border"),
        (rectangle(slice(2, 6), slice(2, 6)), "outside the head"),
        (rectangle(slice(3, 10), slice(16, 20)), "outside the head"),  # 5 of 7 rows
    ],
)
def test_a_mask_that_no_lesion_has_is_told_once_a_scan_with_its_count(wrong, mask, says):
    ((error, text),) = told(scan(mask=lambda good, z: mask if z in wrong else good))
    assert error and says in text
    assert text.startswith("P: ") and f"{len(wrong)} of 6 masks" in text
    assert f"P_{min(wrong)}_mask.tif" in text


@pytest.mark.parametrize(
    "mask",
    [
        rectangle(slice(8, 32), slice(8, 20)),  # half of the head
        rectangle(slice(4, 12), slice(16, 20)),  # 4 of 8 rows in the head
    ],
)
def test_a_mask_just_within_the_limits_is_taken(mask):
    assert told(scan(mask=lambda good, z: mask if z == 3 else good)) == []


def test_an_inverted_mask_of_a_slice_without_a_lesion_is_counted_with_the_others():
    ((_, text),) = told(scan(mask=lambda good, z: 255 - (good if z % 2 else 0 * good)))
    assert "inverted" in text and "6 of 6 masks" in text


def test_a_mask_without_its_image_is_looked_at_all_the_same():
    slices = [SlicePixels(None, None, each.mask_path, 255 - each.labels) for each in scan()]
    ((error, text),) = told(slices)
    assert error and "inverted" in text


def test_one_mask_for_all_slices():
    ((error, text),) = told(scan(4, mask=lambda good, z: lesion()))
    assert error and "4 of 4 masks" in text and "all the same" in text
    assert told(scan(3, mask=lambda good, z: lesion())) == []  # a short lesion may look so
    assert told(scan(4, mask=lambda good, z: rectangle(slice(16, 18), slice(16, 20)))) == []  # or a thin one
    assert told(scan(4, mask=lambda good, z: lesion(z == 1))) == []


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (lambda pixels, z: pixels // 128, "no more than 16"),
        (lambda pixels, z: pixels // 17, "no more than 16"),
        (lambda pixels, z: pixels // 100 * 100, "no more than 16"),
        (lambda pixels, z: np.where(pixels > 150, 255, pixels).astype(np.uint8), "white (255)"),
    ],
)
def test_images_that_show_too_little(image, says):
    found = told(scan(image=image))
    assert found and all(error and says in text and "6 of 6 images" in text for error, text in found)
    assert all("P_0.tif" in text for _, text in found)


def test_a_channel_that_shows_too_little_is_named():
    def poor(pixels, z):
        pixels[..., 2] //= 64
        return pixels

    ((error, text),) = told(scan(image=poor))
    assert error and "post-contrast" in text


def test_a_blank_channel_is_noted():
    def blank(pixels, z):
        pixels[..., 0] = 0
        return pixels

    ((error, text),) = told(scan(image=blank))
    assert not error and "pre-contrast" in text


def test_a_lesion_in_a_blank_slice():
    ((error, text),) = told(scan(image=lambda pixels, z: pixels * (z != 2)))
    assert error and "1 of 6 masks" in text and "P_2_mask.tif" in text
    slices = scan(image=lambda pixels, z: pixels * (z != 2), mask=lambda good, z: good * (z != 2))
    assert told(slices) == []


def test_slices_of_several_sizes_are_looked_at_without_a_head():
    slices = scan(2) + [SlicePixels(Path("a"), head()[:38], Path("m"), 255 - lesion()[:38])]
    ((_, text),) = told(slices)
    assert "1 of 3 masks" in text and "inverted" in text


def test_images_of_one_colour():
    (mask_error, _), (image_error, text) = told(scan(image=lambda pixels, z: np.full_like(pixels, 7)))
    assert mask_error and image_error and "no more than 16" in text and "6 of 6 images" in text
