"""What is drawn of tables: how many marks, where, and under which name."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from metseg.plots.results import (
    plot_ablation,
    plot_dice_by_size,
    plot_history,
    plot_paired,
    plot_patient_dice,
    plot_summary,
)
from metseg.plots.style import colour_of

pytestmark = pytest.mark.usefixtures("never_saved", "in_style")
nan = np.nan


@pytest.fixture
def dice() -> pd.DataFrame:
    """Four patients: the nested U-Net wins twice, loses once, and one has no Dice for it."""
    patients = pd.Index(["P_1", "P_2", "P_3", "P_4"], name="patient_id")
    return pd.DataFrame({"nested_unet": [0.9, 0.8, 0.1, nan], "unet": [0.5, 0.7, 0.3, 0.0]}, patients)


@pytest.fixture
def summary() -> pd.DataFrame:
    columns = [
        "model",
        *(f"dice_{name}{end}" for name in ("mean", "median") for end in ("", "_low", "_high")),
    ]
    rows = [("nested_unet", 0.7, 0.6, 0.8, 0.75, 0.65, 0.85), ("unet", 0.5, nan, nan, 0.5, nan, nan)]
    return pd.DataFrame(rows, columns=columns)


def colours(collection) -> list[str]:
    return [matplotlib.colors.to_hex(c).upper() for c in collection.get_facecolors()]


def offsets(ax) -> np.ndarray:
    """The places of all marks that were scattered."""
    return np.concatenate([np.ma.filled(c.get_offsets().astype(float), nan) for c in ax.collections])


def render(ax) -> None:
    np.ravel(ax)[0].figure.canvas.draw()


# ---- history ----


NAMES = ["training, while it learns", "validation"]


def history(val_dice, *, coarse: int = 0) -> pd.DataFrame:
    epochs = np.arange(1, len(val_dice) + 1)
    table = pd.DataFrame({"epoch": epochs, "loss": 1 / epochs, "val_loss": 2 / epochs, "val_dice": val_dice})
    return table.assign(image_size=np.where(epochs <= coarse, 64, 128))


def test_history():
    axes = plot_history(history([0.2, 0.6, 0.4]), model="unet")
    training, validation = axes[0].lines
    assert training.get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert validation.get_ydata().tolist() == [2, 1, 2 / 3]
    assert training.get_linestyle() != validation.get_linestyle()
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == NAMES
    curve, kept = axes[1].lines
    assert curve.get_ydata().tolist() == [0.2, 0.6, 0.4]
    assert kept.get_xydata().tolist() == [[2, 0.6]]
    assert axes[1].texts[0].get_text() == "kept: 0.600"
    assert axes[1].get_ylim() == (0, 1)
    assert {line.get_color() for ax in axes for line in ax.lines} == {colour_of("unet")}
    render(axes)


def test_history_keeps_the_last_of_equals_that_predicts_anything():
    axes = plot_history(history([0.5, 0.5, 0.5]), model="unet")
    assert axes[1].lines[1].get_xydata().tolist() == [[3, 0.5]]
    table = history([0.0, 0.0, 0.0]).assign(predicts_nothing=[True, False, True])
    assert plot_history(table, model="unet")[1].lines[1].get_xydata().tolist() == [[2, 0.0]]


def test_history_of_two_sizes():
    axes = plot_history(history([0.2, 0.9, 0.4, 0.5], coarse=2), model="unet")
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == NAMES
    coarse, whole, border, kept = axes[1].lines
    assert coarse.get_ydata().tolist() == [0.2, 0.9] and whole.get_ydata().tolist() == [0.4, 0.5]
    assert border.get_xdata() == [2.5, 2.5]
    assert kept.get_xydata().tolist() == [[4, 0.5]]  # 0.9 is of another size
    assert [text.get_text() for text in axes[1].texts] == ["64 px", "kept: 0.500"]
    render(axes)


def test_history_without_any_dice():
    axes = plot_history(history([nan, nan]), model="unet")
    assert len(axes[1].lines) == 1 and len(axes[1].texts) == 0
    assert axes[1].get_ylim() == (0, 1)
    render(axes)


# ---- patients ----


def test_patient_dice(dice):
    ax = plot_patient_dice(dice)
    points = offsets(ax)
    assert sorted(points[:, 1]) == [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9]  # seven, for one is nan
    assert (np.abs(points[:, 0] - points[:, 0].round()) <= 0.15).all()
    assert sorted(points[:, 0].round()) == [0, 0, 0, 1, 1, 1, 1]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["U-Net++", "U-Net"]
    assert ax.get_ylim() == (-0.02, 1.02)
    assert [set(colours(c)) for c in ax.collections] == [{colour_of(m)} for m in dice]
    medians = {float(line.get_ydata()[0]) for line in ax.lines if line.get_linewidth() == 1.8}
    assert medians == {0.8, 0.4}
    render(ax)


@pytest.mark.parametrize(
    "values",
    [
        {"unet": [nan, nan], "nested_unet": [0.1, 0.2]},
        {"unet": [nan, nan]},
        {"first/unet": [0.5, 0.6], "second/unet": [0.4, 0.7], "x": [0, 1]},
    ],
    ids=str,
)
def test_patient_dice_of_odd_tables(values):
    ax = plot_patient_dice(pd.DataFrame(values))
    assert len(ax.get_xticklabels()) == len(values)
    expected = sum(not np.isnan(v) for column in values.values() for v in column)
    assert (len(offsets(ax)) if ax.collections else 0) == expected
    render(ax)


# ---- pairs ----


def test_paired(dice):
    ax = plot_paired(dice, "unet", "nested_unet")
    # the fourth patient has no Dice for one of them: no point, and no vote
    assert offsets(ax).tolist() == [[0.5, 0.9], [0.7, 0.8], [0.3, 0.1]]
    better, worse = colour_of("nested_unet"), colour_of("unet")
    assert colours(ax.collections[0]) == [better, better, worse]
    assert ax.get_title(loc="left") == "U-Net++ better in 2 of 3"
    assert ax.get_xlabel() == "volume Dice, U-Net" and ax.get_ylabel() == "volume Dice, U-Net++"
    assert ax.get_xlim() == ax.get_ylim() == (-0.02, 1.02)
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    render(ax)


def test_paired_ties_are_no_wins():
    dice = pd.DataFrame({"a": [0.5, 0.5], "b": [0.5, 0.5]})
    assert plot_paired(dice, "a", "b").get_title(loc="left") == "b better in 0 of 2"


def test_paired_without_a_common_patient():
    ax = plot_paired(pd.DataFrame({"a": [nan, 0.5], "b": [0.5, nan]}), "a", "b")
    assert ax.get_title(loc="left") == "b better in 0 of 0"
    render(ax)


# ---- lesion load ----


def size_table(sizes, values) -> pd.DataFrame:
    return pd.DataFrame({"ref_voxels": sizes, "dice": values})


def test_dice_by_size():
    tables = {"unet": size_table([10, 1000], [0.2, 0.9]), "nested_unet": size_table([0, 1000], [0.0, nan])}
    ax = plot_dice_by_size(tables)
    assert len(ax.collections) == 2
    assert offsets(ax)[:3].tolist() == [[10, 0.2], [1000, 0.9], [1, 0.0]]  # none at all is drawn at 1
    assert ax.get_xscale() == "log" and ax.get_ylim() == (-0.02, 1.02)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["U-Net", "U-Net++"]
    shapes = [c.get_paths()[0].vertices.shape for c in ax.collections]
    assert shapes[0] != shapes[1]  # markers differ, not colours alone
    render(ax)


def test_dice_by_size_draws_every_network():
    tables = {f"run{k}/unet": size_table([10], [k / 10]) for k in range(7)}
    ax = plot_dice_by_size(tables)
    np.testing.assert_allclose(offsets(ax)[:, 1], [k / 10 for k in range(7)])


# ---- summary ----


def test_summary(summary):
    ax = plot_summary(summary)
    lines = [line.get_xydata().tolist() for line in ax.lines]
    assert lines[:4] == [
        [[0.6, -0.12], [0.8, -0.12]],
        [[0.7, -0.12]],
        [[0.65, 0.12], [0.85, 0.12]],
        [[0.75, 0.12]],
    ]
    assert lines[5] == [[0.5, 0.88]] and lines[7] == [[0.5, 1.12]]
    assert [line.get_color() for line in ax.lines] == [colour_of("nested_unet")] * 4 + [colour_of("unet")] * 4
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["U-Net++", "U-Net"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mean", "median"]
    assert ax.get_xlim() == (0, 1) and ax.yaxis_inverted()  # best on top
    render(ax)


# ---- ablation ----


def test_ablation_shows_each_change_against_the_baseline():
    columns = ["run", "model", "changed", "patients", "dice"]
    columns += [f"difference{end}" for end in ("", "_low", "_high")]
    table = pd.DataFrame(
        [
            ("plain", "unet", "", 13, 0.8, np.nan, np.nan, np.nan),
            ("crop", "unet", "crop=True", 13, 0.82, 0.02, -0.01, 0.05),
            ("again", "unet", "", 13, 0.79, -0.01, -0.02, 0.0),
        ],
        columns=columns,
    )
    ax = plot_ablation(table)
    zero, *lines = [line.get_xydata().tolist() for line in ax.lines]
    assert zero[0][0] == zero[1][0] == 0
    assert lines == [[[-0.01, 0], [0.05, 0]], [[0.02, 0]], [[-0.02, 1], [0.0, 1]], [[-0.01, 1]]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["crop=True", "again"]
    assert ax.get_title(loc="left") == "U-Net: against 0.800"
    render(ax)


# ---- all of them ----


def test_axes_given_are_the_axes_used(dice, summary):
    size = size_table([10, 20], [0.1, 0.2])
    calls = [
        lambda ax: plot_patient_dice(dice, ax=ax),
        lambda ax: plot_paired(dice, "unet", "nested_unet", ax=ax),
        lambda ax: plot_dice_by_size({"unet": size}, ax=ax),
        lambda ax: plot_summary(summary, ax=ax),
    ]
    for ax, call in zip(plt.subplots(1, len(calls))[1], calls, strict=True):
        assert call(ax) is ax and ax.has_data()
    assert len(plt.get_fignums()) == 1
