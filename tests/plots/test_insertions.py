"""The figure of synthetic metastases."""

import numpy as np
import pytest

from metseg.data.phantom.insert import InsertedLesion, Insertion
from metseg.data.volume import Labels, Volume
from metseg.plots.insertions import plot_insertions
from metseg.plots.style import save_figure

REGIONS = {"TC": frozenset({1, 3}), "ET": frozenset({3}), "WT": frozenset({1, 2, 3})}


def test_each_lesion_and_the_own_tumour_have_a_column(tmp_path):
    marks, inserted = np.zeros((2, 4, 40, 40), np.uint8)
    marks[1, 5:9, 5:9] = inserted[1, 5:9, 5:9] = 3
    inserted[inserted > 0] = 1
    marks[2, 30:34, 30:36] = 3
    image = np.random.default_rng(0).integers(1, 99, (2, 4, 40, 40)).astype(np.int16)
    volume = Volume(image, ("t1c", "flair"), spacing_mm=(2, 1, 1))
    lesion = InsertedLesion(1, "solid", 4.0, 32.0, 16, 0.0, None, (1, 6.5, 6.5), 0.0)
    axes = plot_insertions(Insertion(volume, Labels(marks, REGIONS), inserted, [lesion]), side_mm=20)
    titles = [ax.get_title() + ax.get_title("left") for ax in axes[0]]  # as the style in use has it
    assert axes.shape == (3, 2) and "4.0 mm" in titles[0] and "real" in titles[1]
    assert save_figure(axes, tmp_path / "figure.png").stat().st_size > 0
    with pytest.raises(ValueError, match="metastasis"):
        plot_insertions(Insertion(volume, Labels(np.zeros_like(marks), REGIONS), inserted * 0, []))
