"""What figures of speed show of a table: which bars, points, roofs, curves and marks."""

import matplotlib.colors
import pandas as pd
import pytest

from metseg.plots.speed import plot_pareto, plot_scaling, plot_speed
from metseg.plots.style import PALE, colour_of, use_style

pytestmark = pytest.mark.usefixtures("never_saved")


@pytest.fixture(autouse=True)
def _style():
    use_style()


def row(library: str, precision: str, median: float, *, network: str = "nested_unet", **other) -> dict:
    return {
        "group": f"training-{network}", "task": "training", "network": network, "library": library,
        "contestant": library, "precision": precision, "layout": "", "size": 128, "batch": 8,
        "median": median, "q25": 0.9 * median, "q75": 1.2 * median, "gflops": 10 * median, "intensity": 40.0,
    } | other  # fmt: skip


@pytest.fixture
def results() -> pd.DataFrame:
    scaling = [
        row("metseg", "bfloat16", 8 / (size / 100) ** 2, size=size, group="scaling-training-nested_unet")
        for size in (100, 200)
    ]
    latency = {"task": "inference", "batch": 1, "group": "scaling-inference-nested_unet"}
    scaling += [row("metseg", "int8", size / 10, size=size, **latency) for size in (100, 200)]
    return pd.DataFrame([
        row("metseg", "bfloat16", 20.0),
        row("monai", "float32", 10.0, layout="channels_last"),
        row("keras", "float32", 5.0, network="attention_unet"),
        *scaling,
    ])  # fmt: skip


def test_bars_of_each_network(results):
    axes = plot_speed(results)
    assert [ax.get_title(loc="left") for ax in axes] == ["U-Net++", "Attention U-Net"]
    nested = axes[0]
    assert [bar.get_width() for bar in nested.patches] == [10, 20]  # the first stands on top
    assert [label.get_text() for label in nested.get_yticklabels()] == ["MONAI f32 NHWC", "metseg bf16"]
    faces = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in nested.patches]
    assert faces == [PALE, colour_of("nested_unet")]
    assert [text.get_text() for text in nested.texts] == ["10", "20"]
    (whiskers,) = [c for c in nested.collections if hasattr(c, "get_segments")]
    assert [segment[:, 0].tolist() for segment in whiskers.get_segments()] == [[9, 12], [18, 24]]
    nested.figure.canvas.draw()


def test_curves_and_their_exponents(results):
    exponents = pd.DataFrame({
        "task": ["training", "inference"], "network": ["nested_unet"] * 2, "points": [2, 2],
        "exponent": [1.0, 0.5], "standard_error": [0.03, float("nan")],
    })  # fmt: skip
    ax = plot_scaling(results, exponents)
    training, inference = ax.lines
    assert training.get_xydata().tolist() == [[100, 1000], [200, 4000]]  # 8 images at 8 and 2 a second
    assert r"1.00 \pm 0.03" in training.get_label() and "U-Net++" in training.get_label()
    assert inference.get_xydata().tolist() == [[100, 10], [200, 20]]
    assert "0.50" in inference.get_label() and "pm" not in inference.get_label()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "200"]
    ax.figure.canvas.draw()


def test_pareto_names_every_variant_and_the_default():
    rows = [("fp32", "fp32", 9.0, 1.0, 0.80, True, False), ("int8", "int8", 3.0, 0.3, 0.79, True, True)]
    columns = ["variant", "precision", "ms_per_slice", "mb", "dice", "on_front", "default"]
    ax = plot_pareto(pd.DataFrame(rows, columns=columns), model="unet")
    assert [text.get_text() for text in ax.texts] == ["fp32", "int8 (default)"]
    front, *keys = ax.lines
    assert len(keys) == 2  # one a precision
    assert front.get_xydata().tolist() == [[3.0, 0.79], [9.0, 0.80]]
