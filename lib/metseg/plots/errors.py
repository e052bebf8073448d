"""Figures of where a network fails, and of how much its probabilities can be trusted."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from metseg.plots.style import FLAIR, INK, PALE, PREDICTION, REFERENCE, axes_or_new, outline, picture


def plot_dice_by_group(scans: pd.DataFrame, group: str, ax: Axes | None = None) -> Axes:
    """Shows the volume Dice of each scan by group, and each group's median and size."""
    scans = scans.dropna(subset="dice")
    order = sorted(scans[group].unique())
    ax = axes_or_new(ax, (1.5 + 1.1 * len(order), 2.8))
    sns.stripplot(scans, x=group, y="dice", order=order, color=INK, size=4, jitter=0.15, alpha=0.7, ax=ax)
    for x, name in enumerate(order):
        median = scans.dice[scans[group] == name].median()
        ax.plot([x - 0.25, x + 0.25], [median] * 2, color=INK, linewidth=1.8)
    counts = scans[group].value_counts()
    names = [f"{name}\nn = {counts[name]}".replace(", ", ",\n") for name in order]
    ax.set_xticks(range(len(order)), names)
    ax.set(xlabel=group, ylabel="volume Dice", ylim=(-0.02, 1.02))
    return ax


def plot_reliability(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows the share of lesion against probability; takes the table of `uncertainty.reliability`."""
    ax = axes_or_new(ax, (3.4, 3.4))
    ax.plot([0, 1], [0, 1], color=PALE, linewidth=1)
    ax.plot(table.probability, table.lesion_share, "-o", markersize=4, color=INK)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="probability", ylabel="share that is lesion")
    return ax


class CasePicture(NamedTuple):
    """A slice and what a network makes of it."""

    title: str
    image: np.ndarray  # (H, W, 3) uint8
    mask_ref: np.ndarray  # (H, W) bool
    mask_pred: np.ndarray
    maps: Mapping[str, np.ndarray]  # {title: (H, W) float in [0, 1]}


def plot_case_pictures(cases: Sequence[CasePicture], *, channel: int = FLAIR) -> np.ndarray:
    """Shows a row a case: the slice with both contours, then its maps on one scale from 0 to 1."""
    columns = 1 + max(len(case.maps) for case in cases)
    axes = plt.subplots(len(cases), columns, figsize=(1.75 * columns, 1.95 * len(cases)), squeeze=False)[1]
    for row, case in zip(axes, cases, strict=True):
        for ax in row:
            ax.set_axis_off()
        picture(row[0], case.image[..., channel]).set_title(case.title, fontsize=7)
        outline(row[0], case.mask_ref, REFERENCE)
        outline(row[0], case.mask_pred, PREDICTION)
        for ax, (name, values) in zip(row[1:], case.maps.items(), strict=False):
            shown = ax.imshow(values, cmap="cividis", vmin=0, vmax=1)
            ax.set_title(name, fontsize=7)
    axes[0, 0].figure.colorbar(shown, ax=axes, shrink=0.6)
    return axes
