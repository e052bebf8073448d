"""Three planes as a radiologist sees them: the right on the left, the head above, true proportions."""

import numpy as np
import pytest

from metseg.data.volume import Volume
from metseg.plots.planes import plot_planes
from metseg.plots.style import use_style

pytestmark = pytest.mark.usefixtures("never_saved")
LPS = np.diag([-1.0, -1, 4, 1])  # thick slices


@pytest.fixture(autouse=True)
def _style():
    use_style()


def volume(affine=LPS) -> Volume:
    """3 slices of 8 by 10: 200 at the patient's left, in front, in the uppermost slice; else 100."""
    array = np.full((2, 3, 8, 10), 100, np.uint8)
    array[:, 2, 1, 8] = 200
    return Volume(array, ("t1c", "flair"), affine=affine)


def brightest(ax) -> tuple[int, int]:
    image = np.asarray(ax.images[0].get_array())
    return np.unravel_index(image.argmax(), image.shape)


def letters(ax) -> list[str]:
    return [text.get_text() for text in ax.texts if len(text.get_text()) == 1]


def test_each_side_is_where_its_letter_stands():
    axes = plot_planes(volume(), voxel=(2, 1, 8))
    axial, coronal, sagittal = axes[0]
    assert [letters(ax) for ax in axes[0]] == [list("RLAP"), list("RLSI"), list("APSI")]
    assert brightest(axial) == (1, 8)  # near the upper edge, A, and the right one, L
    assert brightest(coronal) == (0, 8)  # at the upper edge, S
    assert brightest(sagittal) == (0, 1)  # near the left edge, A
    assert [ax.get_aspect() for ax in axes[0]] == [1, 4, 4]  # a row of the others is a slice
    assert axial.get_title(loc="left") == "axial, 3 of 3"


def test_unknown_sides_have_no_letters():
    assert [letters(ax) for ax in plot_planes(volume(affine=None))[0]] == [[], [], []]


def test_the_planes_meet_in_the_slice_with_most_lesion():
    mask = np.zeros((3, 8, 10), bool)
    mask[1, 2:5, 3:6] = True
    mask[2, 1, 8] = True
    axes = plot_planes(volume(), mask, channels=("t1c", "flair"))
    assert axes.shape == (2, 3)
    titles = ["axial, 2 of 3", "coronal, 4 of 8", "sagittal, 5 of 10"]
    assert [ax.get_title(loc="left") for ax in axes[0]] == titles
    assert [text.get_text() for text in axes[0, 0].figure.legends[0].get_texts()] == ["reference"]
    axes[0, 0].figure.canvas.draw()


def test_masks_without_lesion():
    empty = np.zeros((3, 8, 10), bool)
    axes = plot_planes(volume(), empty, empty)
    assert axes[0, 0].get_title(loc="left") == "axial, 2 of 3"
    axes[0, 0].figure.canvas.draw()
