"""Figures of numbers: training curves and comparisons."""

import textwrap
from collections.abc import Mapping
from itertools import cycle, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from metseg.base.labels import label_of
from metseg.plots.style import INK, PALE, axes_or_new, colour_of


def plot_history(history: pd.DataFrame, *, model: str) -> np.ndarray:
    """Shows losses and validation Dice against epochs; columns as in `history.csv`.

    Where the slices' size changes there is a gap, for a Dice on another size is another figure.
    """
    axes = losses, dice = plt.subplots(1, 2, figsize=(8, 2.8))[1]
    colour = colour_of(model)
    sizes = list(history.groupby("image_size", sort=False))
    for k, (_, part) in enumerate(sizes):
        names = ("training, while it learns", "validation") if k == 0 else (None, None)
        losses.plot(part.epoch, part.loss, color=colour, label=names[0])
        losses.plot(part.epoch, part.val_loss, "--", color=colour, label=names[1])
        dice.plot(part.epoch, part.val_dice, color=colour)
    losses.legend()
    for (size, _), (_, after) in pairwise(sizes):
        border = after.epoch.iloc[0] - 0.5
        for ax in axes:
            ax.axvline(border, color=INK, linewidth=0.8, linestyle=":")
        dice.annotate(f"{size} px", (border, 0.03), (-4, 0), textcoords="offset points", ha="right")
    last = sizes[-1][1]
    if last.val_dice.notna().any():
        nothing = last.get("predicts_nothing", pd.Series(False, last.index)).astype(bool)
        of_regions = last.filter(regex="^val_dice").mean(axis=1)
        by = last.assign(mean=of_regions, predicts=~nothing).dropna(subset="val_dice")
        best = by.sort_values(["mean", "predicts", "epoch"]).iloc[-1]  # as `schedule.best_epoch`
        dice.plot(best.epoch, best.val_dice, "o", color=colour)
        text, place = f"kept: {best.val_dice:.3f}", (best.epoch, best.val_dice)
        side = "left" if best.epoch < history.epoch.mean() else "right"  # stays within the axes
        dice.annotate(text, place, (0, -14), textcoords="offset points", ha=side)
    losses.set(xlabel="epoch", ylabel="loss", title=label_of(model))
    dice.set(xlabel="epoch", ylabel="validation Dice, mean of patients", ylim=(0, 1))
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
    return axes


def plot_patient_dice(dice: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows every patient's volume Dice and each network's median; one column a network."""
    ax = axes_or_new(ax, (max(5.5, 1.7 * dice.shape[1]), 3.2))
    long = dice.melt(var_name="model", value_name="dice")
    order = list(dice.columns)
    colours = [colour_of(model) for model in order]
    by_model = {"x": "model", "y": "dice", "hue": "model", "order": order, "hue_order": order}
    if long.dice.notna().any():  # seaborn cannot draw no box at all
        sns.boxplot(
            long, **by_model, palette=colours, width=0.5, showfliers=False,
            boxprops={"alpha": 0.25}, medianprops={"color": INK, "linewidth": 1.8}, ax=ax,
        )  # fmt: skip
    sns.stripplot(long, **by_model, palette=colours, size=4, jitter=0.15, ax=ax)
    ax.set_xticks(range(len(order)), [label_of(m) for m in order])
    ax.set(xlabel="", ylabel="volume Dice of a patient", ylim=(-0.02, 1.02))
    return ax


def plot_paired(dice: pd.DataFrame, a: str, b: str, ax: Axes | None = None) -> Axes:
    """Shows two networks' Dice of the same patients; above the diagonal `b` is better."""
    ax = axes_or_new(ax, (3.4, 3.4))
    dice = dice[[a, b]].dropna()  # as `compare.paired_test` does
    ax.plot([0, 1], [0, 1], color=PALE, linewidth=1)
    ax.scatter(dice[a], dice[b], s=24, color=np.where(dice[b] >= dice[a], colour_of(b), colour_of(a)))
    wins = int((dice[b] > dice[a]).sum())
    ax.set(
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal",
        xlabel=f"volume Dice, {label_of(a)}", ylabel=f"volume Dice, {label_of(b)}",
        title=f"{label_of(b)} better in {wins} of {len(dice)}",
    )  # fmt: skip
    return ax


def plot_dice_by_size(tables: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Shows volume Dice against a patient's lesion load; {network: per-patient table}."""
    ax = axes_or_new(ax, (5.5, 3.2))
    for marker, (model, table) in zip(cycle("os^Dv"), tables.items(), strict=False):
        ax.scatter(
            table.ref_voxels.clip(lower=1), table.dice, s=24, marker=marker,
            facecolor="none", edgecolor=colour_of(model), label=label_of(model),
        )  # fmt: skip
    ax.set(xlabel="reference lesion / voxels", ylabel="volume Dice of a patient", xscale="log")
    ax.set_ylim(-0.02, 1.02)
    ax.legend()
    return ax


def plot_summary(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows mean and median volume Dice with their bootstrap intervals; takes `compare_models`' summary."""
    ax = axes_or_new(ax, (5.5, 0.6 + 0.6 * len(summary)))
    for y, row in enumerate(summary.itertuples()):
        for offset, name, marker in ((-0.12, "mean", "o"), (0.12, "median", "D")):
            value, low, high = (getattr(row, f"dice_{name}{end}") for end in ("", "_low", "_high"))
            ax.plot([low, high], [y + offset] * 2, color=colour_of(row.model), linewidth=2)
            ax.plot(value, y + offset, marker, color=colour_of(row.model), label=name if y == 0 else None)
    encoders = summary.get("encoder", ["plain"] * len(summary))
    ax.set_yticks(range(len(summary)), list(map(label_of, summary.model, encoders)))
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="volume Dice of held-out patients, 95 % bootstrap interval")
    ax.legend()
    return ax


def plot_ablation(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows what each change gave against the baseline, with intervals; takes `ablation_table`'s table."""
    rows = table.iloc[1:]
    names = [textwrap.fill(row.changed or row.run, 34) for row in rows.itertuples()]
    lines = sum(1 + name.count("\n") for name in names)
    ax = axes_or_new(ax, (6.5, 1.1 + 0.2 * len(rows) + 0.16 * lines))
    ax.axvline(0, color=PALE, linewidth=1)
    for y, row in enumerate(rows.itertuples()):
        colour = colour_of(row.model)
        ax.plot([row.difference_low, row.difference_high], [y, y], color=colour, linewidth=2)
        ax.plot(row.difference, y, "o", color=colour)
    ax.set_yticks(range(len(rows)), names)
    ax.invert_yaxis()
    first = table.iloc[0]
    ax.set(
        xlabel=f"change of mean volume Dice,\n{first.patients} validation patients, 95 % bootstrap interval",
        title=f"{label_of(first.model)}: against {first.dice:.3f}",
    )
    return ax
