"""The type between reader and writer: what goes in is on one grid, and nothing is copied."""

import numpy as np
import pytest

from metseg.data.volume import CHANNELS, SEQUENCES, Case, Labels, Volume

# Voxels of 0.5 mm along x, 1 along y and 3 along z; x runs to the left.
AFFINE = np.array([[-0.5, 0, 0, 90], [0, 1, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


def of_shape(*shape: int, **known) -> Volume:
    return Volume(np.zeros(shape, np.int16), **known)


def test_channels_last_is_a_view_of_the_same_pixels():
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    volume = Volume.of_slices(images)
    assert volume.array.shape == (3, 2, 4, 5) and volume.grid == (2, 4, 5)
    assert (volume.array[1, 1] == images[1, ..., 1]).all()
    assert (volume.channels_last == images).all() and np.shares_memory(volume.channels_last, images)
    assert (Volume.of_slice(images[1]).channels_last == images[1:]).all()


def test_networks_and_users_call_the_channels_by_their_own_names():
    assert of_shape(3, 1, 2, 2).channels == tuple(SEQUENCES) == ("t1", "flair", "t1c")
    assert CHANNELS == ("pre-contrast", "FLAIR", "post-contrast")


def test_spacing_is_that_of_the_affine():
    assert of_shape(3, 1, 2, 2, affine=AFFINE).spacing_mm == (3.0, 1.0, 0.5)
    turned = AFFINE[:, [1, 0, 2, 3]]
    assert of_shape(3, 1, 2, 2, affine=turned).spacing_mm == (3.0, 0.5, 1.0)
    assert of_shape(3, 1, 2, 2, spacing_mm=(5, 1, 1)).spacing_mm == (5.0, 1.0, 1.0)
    assert of_shape(3, 1, 2, 2).spacing_mm is None


def test_slices_are_laid_on_each_other():
    one, other = (of_shape(3, 1, 2, 2, spacing_mm=(z, 1, 1)) for z in (5, 6))
    both = Volume.stacked([one, other, other])
    assert both.grid == (3, 2, 2) and both.array.dtype == np.int16 and both.spacing_mm == (5.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "known", "says"),
    [
        ((3, 2, 2), {}, r"\(3, 2, 2\).*\(C, Z, Y, X\)"),
        ((3, 0, 2, 2), {}, "real numbers"),
        ((2, 1, 2, 2), {}, "2 channels, named"),
        ((2, 1, 2, 2), {"channels": ("t1", "t1")}, "its own name"),
        ((3, 1, 2, 2), {"affine": np.eye(3)}, "4 × 4"),
        ((3, 1, 2, 2), {"affine": np.zeros((4, 4))}, "invertible"),
        ((3, 1, 2, 2), {"affine": AFFINE, "spacing_mm": (3, 1, 1)}, "the affine says"),
        ((3, 1, 2, 2), {"spacing_mm": (3, 0, 1)}, "three positive numbers"),
        ((3, 1, 2, 2), {"spacing_mm": (1, 1)}, "three positive numbers"),
    ],
)
def test_what_does_not_fit_is_refused(shape, known, says):
    with pytest.raises(ValueError, match=says):
        of_shape(*shape, **known)


def test_labels_say_which_numbers_make_a_region():
    parts = {"TC": frozenset({1, 3}), "ET": frozenset({3}), "WT": frozenset({1, 2, 3})}
    labels = Labels(np.array([[[0, 1, 2, 3, 4]]]), parts)  # 4, a cavity after surgery, is of no region
    assert labels.mask.tolist() == [[[False, True, False, True, False]]]  # the first one, TC
    assert labels.region("WT").tolist() == [[[False, True, True, True, False]]]
    assert labels.masks.astype(int).tolist() == [
        [[[0, 1, 0, 1, 0]]],
        [[[0, 0, 0, 1, 0]]],
        [[[0, 1, 1, 1, 0]]],
    ]
    with pytest.raises(ValueError, match="TC, ET, WT"):
        labels.region("lesion")
    mask = np.array([[[True, False]]])
    assert (Labels.of_mask(mask).mask == mask).all()


def test_a_reference_on_another_grid_is_refused():
    volume, labels = of_shape(3, 2, 4, 4), Labels.of_mask(np.zeros((2, 4, 5), bool))
    with pytest.raises(ValueError, match=r"\(2, 4, 5\).*\(2, 4, 4\).*case_id=P1_a"):
        Case(volume, labels, "P1_a", "P1")
    with pytest.raises(ValueError, match="integers"):
        Labels(np.zeros((2, 4, 4)))
