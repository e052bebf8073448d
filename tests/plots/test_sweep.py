"""What figures of a sweep show of a table: which lines, bars, intervals and marks."""

import numpy as np
import pandas as pd
import pytest

from metseg.plots.style import INK, colour_of
from metseg.plots.sweep import plot_cost, plot_effects, plot_importance, plot_learning_curves, plot_parallel

pytestmark = pytest.mark.usefixtures("never_saved", "in_style")
nan = np.nan


@pytest.fixture
def done() -> pd.DataFrame:
    """The best first, as `done_trials` has them; its index is the row in the sweep's table."""
    rows = [
        ("n0", "nested_unet", 2.0, "focal", 0.8, 240.0, True),
        ("a1", "attention_unet", 0.0, "focal", 0.7, 60.0, True),
        ("n1", "nested_unet", 0.0, "bce", 0.6, 120.0, False),
    ]
    names = ["trial", "model", "clip_limit", "loss", "validation_dice", "seconds", "on_front"]
    return pd.DataFrame(rows, [2, 0, 1], names).assign(seed=0)


def levels(values: pd.Series, order: list) -> pd.Series:
    return pd.Series(pd.Categorical(values, order, ordered=True), values.index)


def lines_of(ax, colour: str) -> list:
    return [line for line in ax.lines if line.get_color() == colour]


def test_parallel(done):
    axes = {"clip_limit": levels(done.clip_limit, [0.0, 2.0]), "loss": levels(done.loss, ["bce", "focal"])}
    ax = plot_parallel(done, {"model": levels(done.model, ["attention_unet", "nested_unet"]), **axes})
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["clip_limit", "loss", "validation Dice"]
    (other,) = lines_of(ax, colour_of("attention_unet"))
    worst, best = sorted(lines_of(ax, colour_of("nested_unet")), key=lambda line: line.get_linewidth())
    assert best.get_linewidth() > worst.get_linewidth() == other.get_linewidth()
    assert (best.get_ydata() > 0.5).all() and best.get_ydata()[-1] == 1  # upper level of both, highest Dice
    assert (worst.get_ydata() < 0.5).all() and worst.get_ydata()[-1] == 0
    low, high, dice = other.get_ydata()
    assert low < 0.5 < high and dice == pytest.approx(0.5)
    texts = [text.get_text() for text in ax.texts]
    assert {"0.0", "2.0", "bce", "focal", "0.800"} <= set(texts)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Attention U-Net", "U-Net++"]
    ax.figure.canvas.draw()


def test_parallel_of_one_trial(done):
    ax = plot_parallel(done[:1], {})
    assert len(ax.lines) == 2  # the trial and the axis of Dice
    ax.figure.canvas.draw()


def test_importance():
    table = pd.DataFrame({
        "parameter": ["loss", "model", "seed"], "share": [0.6, 0.1, 0.3], "chance": [0.2, 0.25, nan],
        "is_told": [True, False, False],
    })  # fmt: skip
    ax = plot_importance(table)
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.1, 0.3]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "loss · 60%",
        "network · 10%",
        "another seed · 30%",
    ]
    assert [list(line.get_xdata()) for line in ax.lines] == [[0.2, 0.2], [0.25, 0.25]]
    first, *others = [tuple(bar.get_facecolor()) for bar in ax.patches]
    assert others[0] == others[1] != first
    ax.figure.canvas.draw()


def test_importance_unknown():
    table = pd.DataFrame({"parameter": ["loss"], "share": [nan], "chance": [nan], "is_told": [False]})
    ax = plot_importance(table)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["loss · cannot be told"]
    ax.figure.canvas.draw()
    plot_importance(table[:0]).figure.canvas.draw()


def row(network: str, level: str, difference: float, is_told: bool) -> dict:
    spread = {"difference_low": difference - 0.02, "difference_high": difference + 0.01}
    own = {"network": network, "parameter": "loss", "level": level, "first": "bce", "difference": difference}
    return {**own, **spread, "training_margin": 0.03, "is_told": is_told}


def test_effects():
    rows = [row("all", "focal", 0.1, True), row("all", "dice", 0.0, False)]
    rows += [row("unet", "focal", 0.2, True), row("unet", "dice", 0.1, False)]
    model = {**row("all", "nested_unet", 0.05, True), "parameter": "model", "first": "unet"}
    network, loss = plot_effects(pd.DataFrame([model, *rows]))
    assert [tick.get_text() for tick in network.get_xticklabels()] == ["U-Net", "U-Net++"]
    assert [tick.get_text() for tick in loss.get_xticklabels()] == ["bce", "focal", "dice"]
    marks = [line for line in loss.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in marks] == [0.1, 0.0, 0.2, 0.1]
    assert [round(line.get_xdata()[0]) for line in marks] == [1, 2, 1, 2]
    assert [line.get_color() for line in marks] == [INK, INK, colour_of("unet"), colour_of("unet")]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [False, True, False, True]
    spans = [line.get_ydata() for line in loss.lines if len(line.get_ydata()) == 2]
    assert [0.08, 0.11] in [pytest.approx(each) for each in spans]
    assert [0.07, 0.13] in [pytest.approx(each) for each in spans]
    loss.figure.canvas.draw()


def test_nothing_to_hold_against():
    table = pd.DataFrame(columns=[*row("all", "focal", 0.1, True)])
    (ax,) = plot_effects(table)
    ax.figure.canvas.draw()


def test_learning_curves(done):
    curves = pd.DataFrame({
        "trial": ["n0"] * 3 + ["n1"] * 2, "epoch": [1, 2, 3, 1, 2], "image_size": [64, 128, 128, 128, 128],
        "val_dice": [0.5, 0.6, 0.8, 0.3, 0.6],
    })  # fmt: skip
    ax = plot_learning_curves(curves, done, ["model", "clip_limit"])
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.5], [0.6, 0.8], [0.3, 0.6]]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--"]  # one network: another style
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["U-Net++ · clip_limit 2 · seed 0", "U-Net++ · clip_limit 0 · seed 0"]
    ax.figure.canvas.draw()


def test_no_learning_curves(done):
    ax = plot_learning_curves(pd.DataFrame(columns=["trial", "epoch"]), done, ["model"])
    assert not ax.lines and len(ax.texts) == 1
    ax.figure.canvas.draw()


def test_cost(done):
    ax = plot_cost(done)
    (marks,) = ax.collections
    assert marks.get_offsets().tolist() == [[4, 0.8], [1, 0.7], [2, 0.6]]
    assert [face[:3].tolist() == [1, 1, 1] for face in marks.get_facecolors()] == [False, False, True]
    assert ax.lines[0].get_xdata().tolist() == [1, 4]
    ax.figure.canvas.draw()
