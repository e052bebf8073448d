"""Figures of which lesions networks find: by size, against false alarms, and what they look like."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from metseg.base.labels import label_of
from metseg.plots.style import (
    INK,
    LESION,
    PALE,
    PREDICTION,
    REFERENCE,
    axes_or_new,
    colour_of,
    contour_legend,
    outline,
    picture,
)

_MARKERS = "os^Dv"
# Real metastases of UCSF-BMSR (Rudie et al. 2024), networks of 10 and of 400 patients: median Dice, share of
# lesions found. Quoted at second hand.
UCSF_BMSR = pd.DataFrame({"patients": [10, 400], "dice_mean": [0.72, 0.85], "sensitivity": [0.60, 0.82]})
_PATIENT_TICKS = (3, 10, 30, 100, 400)
_TICKS = (0, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)


def plot_sensitivity_by_size(by_size: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows the share of lesions found in each class of size, with intervals; takes `LesionScores.by_size`.

    A class without a lesion stays empty.
    """
    ax = axes_or_new(ax, (5.6, 3.0))
    networks, classes = list(by_size.network.unique()), list(by_size.diameter_mm.unique())
    ax.axvline(len(classes) - 2.5, color=PALE, linewidth=0.8)
    for k, (network, marker) in enumerate(zip(networks, cycle(_MARKERS), strict=False)):
        rows = by_size[by_size.network == network].set_index("diameter_mm").loc[classes]
        x = np.arange(len(classes)) + 0.16 * (k - (len(networks) - 1) / 2)
        style = {"color": colour_of(network), "solid_capstyle": "butt"}
        for place, low, high in zip(x, rows.low, rows.high, strict=True):
            ax.plot([place, place], [low, high], linewidth=2, alpha=0.55, **style)
        ax.plot(x, rows.sensitivity, marker, color=style["color"], markersize=5.5, label=label_of(network))
    counts = by_size[by_size.network == networks[0]].lesions
    ends = [name if name == "all" else f"{name} mm" for name in classes]
    ax.set_xticks(range(len(classes)), [f"{e}\nn = {n}" for e, n in zip(ends, counts, strict=True)])
    ax.set(ylim=(-0.03, 1.03), ylabel="share of lesions found", xlabel="diameter of the reference lesion")
    ax.grid(axis="y", color=PALE, linewidth=0.4, alpha=0.6)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(networks), borderaxespad=0)
    return ax


def plot_froc(
    curves: Mapping[str, pd.DataFrame],
    points: Mapping[str, tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Shows the share of lesions found against false positives a scan, each with its 95 % band.

    Args:
        curves: {network: its `froc`}.
        points: {network: (false positives a scan, share found)} of the masks as they are served.
        ax: Where to draw.
    """
    ax = axes_or_new(ax, (5.6, 3.4))
    ax.axvline(1, color=PALE, linewidth=0.8)
    for (network, curve), marker in zip(curves.items(), cycle(_MARKERS), strict=False):
        colour, x = colour_of(network), curve.false_positives_per_scan
        ax.fill_between(x, curve.sensitivity_low, curve.sensitivity_high, color=colour, alpha=0.13, lw=0)
        ax.plot(x, curve.sensitivity, color=colour, linewidth=1.6, label=label_of(network))
        if point := (points or {}).get(network):
            ax.plot(*point, marker, color=colour, markersize=7, markeredgecolor="white", zorder=4)
    ax.set_xscale("symlog", linthresh=1, linscale=1)
    most = max([1.0, *(curve.false_positives_per_scan.max() for curve in curves.values())])
    ticks = [each for each in _TICKS if each <= 1.3 * most]
    ax.set_xticks(ticks, [f"{each:g}" for each in ticks])
    ax.minorticks_off()
    ax.set(xlim=(-0.03, 1.3 * most), ylim=(-0.03, 1.03))
    ax.set(xlabel="false positives a scan", ylabel="share of lesions found")
    ax.grid(axis="y", color=PALE, linewidth=0.4, alpha=0.6)
    ax.legend(loc="lower right")
    return ax


def plot_learning_curve(
    curve: pd.DataFrame, published: pd.DataFrame = UCSF_BMSR, axes: Sequence[Axes] | None = None
) -> Sequence[Axes]:
    """Shows Dice and the share of lesions found against the number of patients learned from.

    Args:
        curve: `evaluation.learning_curve`.
        published: Others' with patients, dice_mean, sensitivity; its line is dashed.
        axes: Two, where to draw.
    """
    axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharex=True)[1] if axes is None else axes
    titles = {"dice_mean": "volume Dice", "sensitivity": "share of lesions found"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        ax.plot(published.patients, published[name], "s--", color=INK, markersize=4, linewidth=1, alpha=0.7)
        x, low, high = curve.patients, curve[f"{name}_low"], curve[f"{name}_high"]
        ax.vlines(x, low, high, color=LESION, linewidth=2, alpha=0.55)
        ax.plot(x, curve[name], "o-", color=LESION, markersize=5.5)
        ax.set_xscale("log")
        ax.set_xticks(_PATIENT_TICKS, map(str, _PATIENT_TICKS))
        ax.minorticks_off()
        ax.set(ylim=(-0.03, 1.03), title=title, xlabel="patients learned from")
        ax.grid(axis="y", color=PALE, linewidth=0.4, alpha=0.6)
    last = published.iloc[-1]
    place = {"ha": "right", "va": "top", "fontsize": 8, "color": INK}
    axes[0].text(last.patients, last.dice_mean - 0.12, "UCSF-BMSR, real", **place)
    below = curve.dice_mean_low.min() - 0.03
    axes[0].text(curve.patients.iloc[-1], below, "here", **place | {"color": LESION})
    return axes


class LesionPicture(NamedTuple):
    """A lesion in its slice, and around it what is marked."""

    case_id: str
    diameter_mm: float  # of the ball of its volume
    image: np.ndarray  # (H, W)
    mask_ref: np.ndarray  # (H, W) bool
    mask_pred: np.ndarray
    aspect: float  # height of a voxel by its width


def plot_lesion_pictures(pictures: Mapping[str, Sequence[LesionPicture]]) -> np.ndarray:
    """Shows lesions with both contours, a row a kind: {kind: pictures}; the first in each row the smallest.

    The lesion meant is in the middle, but at the edge of a scan.
    """
    columns = max(1, *(len(each) for each in pictures.values()))
    heights = [1 if len(each) else 0.12 for each in pictures.values()]
    size = (max(4.5, 1.55 * columns + 0.3), 1.95 * sum(heights) + 0.4)
    axes = plt.subplots(len(pictures), columns, figsize=size, height_ratios=heights, squeeze=False)[1]
    for row, (kind, shown) in zip(axes, pictures.items(), strict=True):
        for ax, each in zip(row, shown, strict=False):
            picture(ax, each.image, f"{each.diameter_mm:.1f} mm", upper=_white(each.image))
            ax.title.set_fontsize(9)
            ax.set_aspect(each.aspect)
            outline(ax, each.mask_ref, REFERENCE)
            outline(ax, each.mask_pred, PREDICTION)
            place = {"va": "top", "transform": ax.transAxes}
            ax.text(0, -0.03, each.case_id, fontsize=5.5, color=INK, **place)
        for ax in row[len(shown) :]:
            ax.set_axis_off()
        place = {"va": "center", "fontsize": 9, "transform": row[0].transAxes}
        if len(shown):
            row[0].text(-0.06, 0.5, kind, rotation=90, ha="right", **place)
        else:
            row[0].text(0, 0.5, f"{kind}: none", **place)
    contour_legend(axes[0, 0].figure)
    return axes


def _white(image: np.ndarray) -> float:
    """Returns the grey value shown white: a vessel or two may be brighter."""
    inside = image[image > 0]
    return 1.05 * float(np.percentile(inside, 99.5)) if inside.size else 1.0
