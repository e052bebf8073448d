"""How much brighter lesions are, contrast and noise relative to no CLAHE, and the Dice of every threshold."""

import cv2
import numpy as np
import pandas as pd
import pytest

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases
from metseg.data.volume import Case, Labels, Volume
from metseg.data.writers.nifti import write_image, write_mask
from metseg.evaluation.lesion_contrast import (
    contrast_and_noise,
    contrast_classes,
    lesion_contrasts,
    threshold_curves,
)
from metseg.preprocessing.pipeline import Preprocessing

STORED = Preprocessing(image_size=64, clip_limit=0, tile_grid=4, intensity="stored")


def case_of(image: np.ndarray, mask: np.ndarray) -> Case:
    return Case(Volume.of_slices(image), Labels.of_mask(mask), "P_1", "P")


@pytest.fixture
def noisy() -> Case:
    """A slice of noisy tissue with a lesion a little brighter, below one with a smaller lesion."""
    rng = np.random.default_rng(0)
    image = rng.normal(80, 4, (2, 64, 64, 3))  # twice as bright is still below 256
    mask = np.zeros((2, 64, 64), bool)
    mask[0, 10:12, 10:12] = True
    mask[1, 24:40, 24:40] = True
    image[mask] += 20
    return case_of(image.clip(0, 255).round().astype(np.uint8), mask)


@pytest.mark.parametrize("intensity", ["slice", "volume", "stored"])
def test_no_clahe_gives_exactly_one(noisy, intensity):
    config = STORED.model_copy(update={"intensity": intensity, "clip_limit": 2.0})
    contrast, noise = contrast_and_noise([noisy, noisy], config, [0.0, 0.0])
    assert contrast.tolist() == [1.0, 1.0]
    assert noise.tolist() == [1.0, 1.0]


def test_clahe_lifts_both_and_more_of_it_lifts_noise_more(noisy):
    contrast, noise = contrast_and_noise([noisy], STORED, [1.5, 4.0])
    assert contrast.shape == noise.shape == (2,)
    assert 1 < noise[0] < noise[1]
    assert contrast[0] > 1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_gain_by_hand(monkeypatch, noisy, channel):
    """CLAHE replaced by a stretch that doubles channel 1 alone: both ratios double there and only there."""
    factors = np.array([1, 2, 1], np.uint8)
    monkeypatch.setattr(
        "metseg.preprocessing.pipeline.clahe",
        lambda image, *, clip_limit, tile_grid: image * factors ** bool(clip_limit),
    )
    contrast, noise = contrast_and_noise([noisy], STORED, [0.0, 3.0], channel=channel)
    expected = [1, factors[channel]]
    np.testing.assert_allclose(contrast, expected, rtol=1e-4)
    np.testing.assert_allclose(noise, expected, rtol=1e-4)


def test_the_fullest_slice_and_the_median_of_cases(noisy):
    """Two like cases outvote a third, whose lesion does not stand out at all."""
    only = case_of(noisy.image[1:], noisy.mask[1:])
    hidden = case_of(cv2.GaussianBlur(noisy.image[1], (0, 0), 8)[None], noisy.mask[1:])
    np.testing.assert_array_equal(
        contrast_and_noise([only, hidden, noisy], STORED, [2.0]), contrast_and_noise([noisy], STORED, [2.0])
    )


def test_cases_without_a_lesion_at_this_size_are_left_out(noisy):
    dot = np.zeros((1, 256, 256), bool)
    dot[0, 100, 100] = True  # a sixteenth of a pixel at 64
    gone = case_of(np.full((1, 256, 256, 3), 90, np.uint8), dot)
    healthy = case_of(noisy.image, np.zeros_like(noisy.mask))
    np.testing.assert_array_equal(
        contrast_and_noise([gone, noisy, healthy], STORED, [2.0]), contrast_and_noise([noisy], STORED, [2.0])
    )
    with pytest.raises(MetsegError, match="no case shows a lesion"):
        contrast_and_noise([gone, healthy], STORED, [2.0])


# lesions and what surrounds them


def write_scan(folder, name, pixels, mask, *, spacing=(1, 1, 1), kinds=("t1n", "t1c", "t2f")):
    (folder / name).mkdir(parents=True)
    volume = Volume(pixels[None], ("t1c",), affine=np.diag([-spacing[2], -spacing[1], spacing[0], 1.0]))
    for kind in kinds:
        write_image(volume, folder / name / f"{name}-{kind}.nii.gz")
    write_mask(3 * mask.astype(np.uint8), volume, folder / name / f"{name}-seg.nii.gz")


@pytest.fixture
def tissue():
    """Even tissue of 100 between a slice of 0 and one of 255, by which the reader scales."""
    pixels, mask = np.full((16, 24, 40), 100, np.uint8), np.zeros((16, 24, 40), bool)
    pixels[0], pixels[-1] = 0, 255
    return pixels, mask


def test_contrast_by_hand(tmp_path, tissue):
    """Twice as bright; half as bright; a ring whose core is dark; the one beside it is no surrounding."""
    pixels, mask = tissue
    lesions = [
        (np.s_[2:5, 2:5, 2:5], 200),
        (np.s_[2:5, 2:5, 20:23], 50),
        (np.s_[2:7, 12:17, 2:7], 160),
        (np.s_[2:7, 12:17, 9:12], 120),
    ]
    for place, value in lesions:
        pixels[place], mask[place] = value, True
    pixels[3:6, 13:16, 3:6] = 30  # 27 of the ring's 125 voxels
    write_scan(tmp_path, "BraTS-MET-00001-000", pixels, mask)
    table = lesion_contrasts(find_cases(tmp_path))
    assert table.case_id.unique().tolist() == ["BraTS-MET-00001-000"]
    assert table.lesion.tolist() == [1, 2, 3, 4]
    assert table.contrast.tolist() == pytest.approx([1.0, -0.5, 0.6, 0.2], abs=1e-6)


def test_surroundings_are_measured_in_mm(tmp_path, tissue):
    """Slices of 3 mm: the next one, of 150 everywhere, surrounds the lesion; at 6 mm it would be too far."""
    pixels, mask = tissue
    mask[4, 10, 10] = True
    pixels[4, 10, 10] = 200
    pixels[4, 8:13, 8:13][~mask[4, 8:13, 8:13]] = 0  # nothing of its own slice within 2 voxels
    pixels[[3, 5]] = 150
    for name, thick, wide in (("BraTS-MET-00001-000", 3, 3), ("BraTS-MET-00002-000", 6, 3)):
        write_scan(tmp_path, name, pixels, mask, spacing=(thick, wide, wide))
    near, far = lesion_contrasts(find_cases(tmp_path)).contrast
    assert near == pytest.approx(200 / 150 - 1, abs=1e-6) and np.isnan(far)


def test_what_stands_in_for_t1c_has_no_contrast(tmp_path, tissue):
    pixels, mask = tissue
    mask[4, 10, 10] = True
    write_scan(tmp_path, "BraTS-MET-00001-000", pixels, mask, kinds=("t1n", "t2f"))
    table = lesion_contrasts(find_cases(tmp_path, allow_missing=True))
    assert table.lesion.tolist() == [1] and table.contrast.isna().all()


def test_a_scan_without_a_lesion(tmp_path, tissue):
    pixels, mask = tissue
    write_scan(tmp_path, "BraTS-MET-00001-000", pixels, mask)
    mask[4, 10, 10] = True
    write_scan(tmp_path, "BraTS-MET-00002-000", pixels, mask)
    table = lesion_contrasts(find_cases(tmp_path))
    assert table.case_id.tolist() == ["BraTS-MET-00002-000"] and table.contrast.tolist() == [0]
    assert contrast_classes(table.contrast[:0]).empty


def test_classes_of_contrast():
    classes = contrast_classes(pd.Series([-0.5, 0.2499, 0.25, 0.4999, 0.5, 3.0, np.nan]))
    assert classes.tolist()[:6] == ["< 25 %"] * 2 + ["25–50 %"] * 2 + ["≥ 50 %"] * 2
    assert classes.isna().tolist() == [False] * 6 + [True]
    assert list(classes.cat.categories) == ["< 25 %", "25–50 %", "≥ 50 %"]


# thresholds


def case_of_values(values, mask) -> Case:
    """One slice whose channels hold `values` (C, 2, 2)."""
    image = np.moveaxis(np.array(values, np.uint8), 0, -1)[None]
    return Case(Volume.of_slices(image), Labels.of_mask(np.array([mask], bool)), "P_1", "P")


def test_four_pixels_by_hand():
    flat, rising, falling = [[9, 9], [9, 9]], [[0, 10], [200, 255]], [[255, 200], [10, 0]]
    curves = threshold_curves([case_of_values([flat, rising, falling], [[0, 0], [1, 1]])])
    assert list(curves) == ["pre-contrast", "FLAIR", "post-contrast"]
    assert all(curve.shape == (256,) for curve in curves.values())

    # lesion: the two lower pixels; predicted: those at or above t
    flair = curves["FLAIR"]
    assert flair[0] == pytest.approx(2 * 2 / (2 + 4))  # everything
    assert np.allclose(flair[1:11], 2 * 2 / (2 + 3))  # 10, 200, 255
    assert (flair[11:201] == 1).all()  # 200 and 255: exactly the lesion
    assert np.allclose(flair[201:], 2 * 1 / (2 + 1))  # 255 alone, which is ≥ 255

    # upside down: thresholds find the lesion's pixels last
    post = curves["post-contrast"]
    assert post[0] == pytest.approx(2 / 3)
    assert np.allclose(post[1:11], 2 * 1 / (2 + 3))
    assert (post[11:] == 0).all()

    # without contrast: everything up to 9, then nothing
    assert np.allclose(curves["pre-contrast"][:10], 2 / 3)
    assert (curves["pre-contrast"][10:] == 0).all()


def test_cases_are_pooled_not_averaged():
    one = case_of_values([[[100, 0], [0, 0]]] * 3, [[1, 0], [0, 0]])
    two = case_of_values([[[100, 100], [100, 0]]] * 3, [[0, 0], [0, 1]])
    flair = threshold_curves([one, two])["FLAIR"]
    assert flair[100] == pytest.approx(2 * 1 / (2 + 4))  # a mean of the two would be (1 + 0) / 2
    assert flair[101] == 0


def test_no_lesion_anywhere():
    curve = threshold_curves([case_of_values([[[5, 5], [5, 5]]] * 3, [[0, 0], [0, 0]])])["FLAIR"]
    assert (curve[:6] == 0).all()  # predictions, all of them wrong
    assert np.isnan(curve[6:]).all()  # neither lesion nor prediction
