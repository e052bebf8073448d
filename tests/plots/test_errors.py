"""Figures of errors: what they show, and that they can be drawn."""

import numpy as np
import pandas as pd
import pytest

from metseg.plots.errors import (
    CasePicture,
    plot_case_pictures,
    plot_dice_by_group,
    plot_reliability,
)

pytestmark = pytest.mark.usefixtures("never_saved")


def draw(axes) -> None:
    np.ravel(axes)[0].figure.canvas.draw()


def test_dice_by_group():
    scans = pd.DataFrame({"dice": [0.2, 0.4, 0.9, np.nan], "institution": ["HT", "HT", "CS", "FG"]})
    ax = plot_dice_by_group(scans, "institution")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["CS\nn = 1", "HT\nn = 2"]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.9, 0.9], [pytest.approx(0.3)] * 2]
    draw(ax)
    scans = pd.DataFrame({"dice": [0.2], "missing": ["pre-contrast, post-contrast"]})
    (tick,) = plot_dice_by_group(scans, "missing").get_xticklabels()
    assert tick.get_text() == "pre-contrast,\npost-contrast\nn = 1"  # else it runs into its neighbour


def test_reliability():
    ax = plot_reliability(pd.DataFrame({"probability": [0.1, 0.9], "lesion_share": [0.3, 0.8]}))
    assert ax.lines[1].get_xydata().tolist() == [[0.1, 0.3], [0.9, 0.8]]
    draw(ax)


def test_case_pictures():
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    image, prob_map = np.full((8, 8, 3), 90, np.uint8), np.full((8, 8), 0.3)
    cases = [
        CasePicture("worst", image, mask, ~mask, {"probability": prob_map, "gate": prob_map}),
        CasePicture("best", image, mask, mask, {"probability": prob_map}),
    ]
    axes = plot_case_pictures(cases)
    assert axes.shape == (2, 3)
    titles = [[ax.get_title(loc="left") or ax.get_title() for ax in row] for row in axes]
    assert titles == [["worst", "probability", "gate"], ["best", "probability", ""]]
    assert [len(ax.images) for ax in axes.flat] == [1, 1, 1, 1, 1, 0]
    assert axes[0, 1].images[0].get_clim() == (0, 1)
    draw(axes)
