"""What the benchmark's figures show of a table: which bars, points, roofs and curves."""

import matplotlib.colors
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from metseg.plots.speed import milliseconds, plot_profile, plot_roofline, plot_scaling, plot_speed
from metseg.plots.style import PALE, colour_of, use_style

pytestmark = pytest.mark.usefixtures("never_saved")
SHARED = {"q25": 0.9, "q75": 1.2, "batch": 8, "size": 128, "layout": "", "unit": "images/s"}


@pytest.fixture(autouse=True)
def _style():
    use_style()


def row(library: str, precision: str, median: float, *, network: str = "nested_unet", **other) -> dict:
    quartiles = {"q25": 0.9 * median, "q75": 1.2 * median}
    speed = {"median": median, "gflops": 10 * median, "intensity": 40.0}
    words = {"library": library, "contestant": library, "precision": precision, "network": network}
    return {
        **SHARED,
        "group": "training-nested_unet",
        "task": "training",
        **words,
        **speed,
        **quartiles,
        **other,
    }


@pytest.fixture
def results() -> pd.DataFrame:
    scaling = [
        row("metseg", "bfloat16", 8 / (size / 100) ** 2, size=size, group="scaling-training-nested_unet")
        for size in (100, 200)
    ]
    data = {"task": "open", "network": "", "group": "scaling-open", "unit": "s"}
    opening = [row("metseg", "", n / 1000, size=n, **{**data, "network": ""}) for n in (100, 1000)]
    return pd.DataFrame([
        row("metseg", "bfloat16", 20.0),
        row("monai", "float32", 10.0, layout="channels_last"),
        row("keras", "float32", 5.0, network="attention_unet"),
        *scaling,
        *opening,
    ])  # fmt: skip


def test_bars_of_each_network(results):
    axes = plot_speed(results)
    assert [ax.get_title(loc="left") for ax in axes] == ["Nested U-Net", "Attention U-Net"]
    nested = axes[0]
    assert [bar.get_width() for bar in nested.patches] == [10, 20]  # the first stands on top
    assert [label.get_text() for label in nested.get_yticklabels()] == ["MONAI f32 NHWC", "metseg bf16"]
    faces = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in nested.patches]
    assert faces == [PALE, colour_of("nested_unet")]
    assert [text.get_text() for text in nested.texts] == ["10.0", "20.0"]
    (whiskers,) = [c for c in nested.collections if hasattr(c, "get_segments")]
    assert [segment[:, 0].tolist() for segment in whiskers.get_segments()] == [[9, 12], [18, 24]]
    nested.figure.canvas.draw()


def test_roofs_and_points(results):
    ax = plot_roofline(results, {"float32": 100.0, "bfloat16": 200.0}, 10.0)
    roofs, points = ax.lines[:2], ax.lines[2:]
    for roof, limit in zip(roofs, (100, 200), strict=True):
        x, y = roof.get_data()
        assert max(y) == limit
        assert y[0] == pytest.approx(10 * x[0])  # on the slope
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(40, 200), (40, 100), (40, 50)]
    filled = [line.get_markerfacecolor() != "white" for line in points]
    assert filled == [True, False, False]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    ax.figure.canvas.draw()


def test_kinds_of_operations_largest_on_top():
    profile = pd.DataFrame(
        [
            ("attention_unet", "convolution", 0.8), ("attention_unet", "copies", 0.2),
            ("nested_unet", "convolution", 0.6), ("nested_unet", "copies", 0.1),
            ("nested_unet", "upsampling", 0.3),
        ],
        columns=["network", "kind", "share"],
    )  # fmt: skip
    ax = plot_profile(profile)
    # by the networks' mean: copies and upsampling 0.15 each, an attention U-Net without upsampling
    assert ax.get_yticklabels()[-1].get_text() == "convolution"
    attention, nested = ax.containers
    assert [bars[-1].get_width() for bars in (attention, nested)] == [0.8, 0.6]
    assert sorted(bar.get_width() for bar in attention) == [0, 0.2, 0.8]
    assert "60.0%" in [text.get_text() for text in ax.texts]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Attention U-Net", "Nested U-Net"]
    ax.figure.canvas.draw()


def test_curves_and_their_exponents(results):
    exponents = pd.DataFrame({
        "task": ["training", "open"], "network": ["nested_unet", ""], "over": ["pixels", "slices"],
        "points": [2, 2], "exponent": [1.0, 0.5], "standard_error": [0.03, float("nan")],
    })  # fmt: skip
    axes = plt.subplots(1, 2)[1]
    pixels, slices = plot_scaling(results, exponents, axes)
    assert [pixels, slices] == list(axes)
    (curve,) = pixels.lines
    assert curve.get_xydata().tolist() == [[100, 1000], [200, 4000]]  # 8 images at 8 and 2 a second
    assert r"1.00 \pm 0.03" in curve.get_label() and "Nested U-Net" in curve.get_label()
    (opening,) = slices.lines
    assert "0.50" in opening.get_label() and "pm" not in opening.get_label()
    assert opening.get_xydata().tolist() == [[100, 100], [1000, 1000]]
    pixels.figure.canvas.draw()


def test_milliseconds():
    units = pd.DataFrame({"unit": ["ms", "s", "images/s"], "median": [3.0, 0.5, 4.0], "batch": [1, 1, 2]})
    assert milliseconds(units).tolist() == [3, 500, 500]


def test_axes_may_be_given(results):
    one = results[results.network == "attention_unet"]
    ax = plt.subplots()[1]
    assert plot_speed(one, [ax])[0] is ax
    assert plot_roofline(one, {"float32": 10.0}, 1.0, ax) is ax
