"""Figures of which lesions are found."""

import numpy as np
import pandas as pd
import pytest

from metseg.metrics.detection import froc, sensitivity_by_diameter
from metseg.plots.lesion_detection import (
    LesionPicture,
    plot_froc,
    plot_learning_curve,
    plot_lesion_pictures,
    plot_sensitivity_by_size,
)
from metseg.plots.style import MODEL_COLOURS


@pytest.fixture
def lesions() -> pd.DataFrame:
    """Two patients with a lesion of 2 and one of 4 mm each, and a false alarm, at two thresholds."""
    rows = [
        (who, threshold, alarm, size, threshold < 0.6 and not alarm)
        for who in "AB"
        for threshold in (0.5, 0.9)
        for size, alarm in ((2.0, False), (4.0, False), (3.0, True))
    ]
    return pd.DataFrame(rows, columns=["patient_id", "threshold", "false_positive", "diameter_mm", "found"])


def test_sensitivity_by_size(lesions, never_saved):
    table = sensitivity_by_diameter(lesions[lesions.threshold == 0.5], pd.Series({"A": 1, "B": 1}))
    both = pd.concat([table.assign(network=name) for name in ("nested_unet", "unet")])
    ax = plot_sensitivity_by_size(both)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[0] == "< 3 mm\nn = 2" and labels[-2:] == ["≥ 3 mm\nn = 2", "all\nn = 4"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["U-Net++", "U-Net"]


def test_froc_with_and_without_points(lesions, never_saved):
    curve = froc(lesions, pd.Series({"A": 1, "B": 1}))
    ax = plot_froc({"nested_unet": curve}, {"nested_unet": (1.0, 1.0)})
    colours = {line.get_color() for line in ax.lines[1:]}
    assert colours == {MODEL_COLOURS["nested_unet"]} and ax.get_xlim()[1] > 1
    plot_froc({"unet": curve.assign(false_positives_per_scan=0.0)})


def test_pictures_of_lesions(never_saved):
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    image = np.arange(64).reshape(8, 8)
    seen = LesionPicture("A-1", 4.25, image, mask, mask, 1.0)
    axes = plot_lesion_pictures(
        {"found": [seen, seen], "missed": [seen._replace(image=image * 0)], "invented": []}
    )
    assert axes.shape == (3, 2)
    assert [ax.get_title() + ax.get_title("left") for ax in axes[0]] == ["4.2 mm"] * 2
    assert "none" in axes[2, 0].texts[0].get_text()


def test_a_learning_curve_beside_a_published_one(never_saved):
    table = {"patients": [3, 9], "dice_mean": [0.5, 0.7], "sensitivity": [0.4, 0.6]}
    ends = {f"{name}_{end}": table[name] for name in ("dice_mean", "sensitivity") for end in ("low", "high")}
    axes = plot_learning_curve(pd.DataFrame({**table, **ends}))
    titles = [ax.get_title() or ax.get_title(loc="left") for ax in axes]
    assert titles == ["volume Dice", "share of lesions found"]
    published, own = axes[1].get_lines()
    assert own.get_xydata().tolist() == [[3, 0.4], [9, 0.6]]
    assert published.get_xydata().tolist() == [[10, 0.60], [400, 0.82]]
