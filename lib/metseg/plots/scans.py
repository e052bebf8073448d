"""Figures of slices: channels, CLAHE, augmentation, predictions, attention."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from metseg.data.volume import CHANNELS, Case
from metseg.masks.components import fullest_slice
from metseg.plots.style import (
    FLAIR,
    INK,
    LESION,
    PALE,
    PREDICTION,
    REFERENCE,
    axes_or_new,
    contour_legend,
    outline,
    picture,
)

_LETTERS = 28  # of a line beside a picture


def _grid(rows: int, columns: int, side: float = 1.9) -> np.ndarray:
    axes = plt.subplots(rows, columns, figsize=(side * columns, side * rows), squeeze=False)[1]
    for ax in axes.flat:
        ax.set_axis_off()
    return axes


def plot_cases(cases: Sequence[Case]) -> np.ndarray:
    """Shows of each case the fullest slice in all channels, a row a case, with the reference outlined."""
    axes = _grid(len(cases), len(CHANNELS))
    for k, (row, case) in enumerate(zip(axes, cases, strict=True)):
        z = fullest_slice(case.mask)
        for channel, ax in enumerate(row):
            picture(ax, case.image[z, ..., channel], "" if k else CHANNELS[channel])
            outline(ax, case.mask[z], REFERENCE)
        place = {"rotation": 90, "va": "center", "ha": "right", "transform": row[0].transAxes}
        row[0].text(-0.04, 0.5, _name_of(case), fontsize=7, multialignment="center", **place)
    return axes


def _name_of(case: Case) -> str:
    """Returns what tells a scan from others of its patient, in lines as long as a picture is high."""
    known = [case.case_id] if case.patient_id in case.case_id else [case.patient_id, case.case_id]
    return "\n".join(fill(each, _LETTERS) for each in known)


def plot_lesion_load(cases, ax: Axes | None = None) -> Axes:
    """Shows each scan's share of slices with lesion against its lesion pixels; takes `DataReport.cases`."""
    ax = axes_or_new(ax)
    ax.scatter(cases.lesion_px.clip(lower=1), cases.tumour_slices / cases.slices, s=22, color=INK, alpha=0.7)
    ax.set(xlabel="lesion load of a scan / px", ylabel="share of slices with lesion")
    ax.set(xscale="log", ylim=(0, 1.02))
    return ax


def plot_lesion_contrast(cases: Sequence[Case]) -> np.ndarray:
    """Shows for each channel the grey values inside and outside the cases' lesions."""
    axes = plt.subplots(1, len(CHANNELS), figsize=(9, 2.6), sharey=True)[1]
    bins = np.arange(1, 257, 5)
    for channel, ax in enumerate(axes):
        lesion = np.concatenate([case.image[case.mask][:, channel] for case in cases])
        other = np.concatenate([case.image[~case.mask][:, channel] for case in cases])
        ax.hist(other[other > 0], bins, density=True, color=PALE, label="elsewhere")
        style = {"histtype": "step", "color": LESION, "linewidth": 1.5}
        ax.hist(lesion, bins, density=lesion.size > 0, label="lesion", **style)
        ax.set(title=CHANNELS[channel], xlabel="grey value", yticks=[])
    axes[0].set_ylabel("density")
    axes[-1].legend(loc="upper right")
    return axes


def plot_threshold_curve(curves: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Shows the pooled Dice of every global threshold; {channel: (256,) Dice of pixels ≥ threshold}."""
    ax = axes_or_new(ax)
    for (channel, dice), style in zip(curves.items(), ("-", "--", ":"), strict=False):
        label = f"{channel}: at best {np.nanmax(dice):.2f}"
        ax.plot(np.arange(len(dice)), dice, style, color=INK, label=label)
    ax.set(xlabel="threshold / grey value", ylabel="pooled Dice", ylim=(0, 1), xlim=(0, 255))
    ax.legend()
    return ax


def plot_clahe(variants: Mapping[float, np.ndarray], *, channel: int = FLAIR) -> np.ndarray:
    """Shows one slice under several clip limits, each over its histogram; {clip_limit: (S, S, 3), 0 to 1}."""
    columns = len(variants)
    axes = plt.subplots(2, columns, figsize=(1.9 * columns, 3.2), height_ratios=(2, 1), squeeze=False)[1]
    for (clip_limit, image), (top, bottom) in zip(variants.items(), axes.T, strict=True):
        values = image[..., channel]
        picture(top, values, "without CLAHE" if clip_limit == 0 else f"clip limit {clip_limit:g}", upper=1)
        bottom.hist(values[values > 0], np.linspace(0, 1, 41), color=INK, density=True)
        bottom.set(xlim=(0, 1), yticks=[], xticks=(0, 1))
    axes[1, 0].set_ylabel("density")
    return axes


def plot_noise_gain(
    clip_limits: Sequence[float], lesion: Sequence[float], noise: Sequence[float], ax=None
) -> Axes:
    """Shows how lesion contrast and background noise grow with the clip limit, both relative to no CLAHE."""
    ax = axes_or_new(ax)
    ax.plot(clip_limits, lesion, "o-", color=LESION, label="lesion contrast")
    ax.plot(clip_limits, noise, "s--", color=INK, label="noise in even tissue")
    ax.axhline(1, color=PALE, linewidth=0.8)
    ax.set(xlabel="clip limit (0 = no CLAHE)", ylabel="relative to no CLAHE")
    ax.legend()
    return ax


def plot_pairs(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, columns: int = 6, channel: int = FLAIR
) -> np.ndarray:
    """Shows (image, mask) pairs, the first one titled as the original."""
    axes = _grid(-(-len(pairs) // columns), columns, side=1.6)
    for k, (ax, (image, mask)) in enumerate(zip(axes.flat, pairs, strict=False)):
        picture(ax, image[..., channel], "original" if k == 0 else "", upper=1)
        outline(ax, mask, REFERENCE)
    return axes


def plot_predictions(
    examples: Mapping[str, tuple[np.ndarray, ...]], *, columns: int = 4, channel: int = FLAIR
) -> np.ndarray:
    """Shows slices with both contours: {title: (image, mask_ref, mask_pred)}."""
    axes = _grid(-(-len(examples) // columns), columns, side=2.1)
    for ax, (title, (image, mask_ref, mask_pred)) in zip(axes.flat, examples.items(), strict=False):
        picture(ax, image[..., channel], title).title.set_fontsize(7)
        outline(ax, mask_ref, REFERENCE)
        outline(ax, mask_pred, PREDICTION)
    contour_legend(axes[0, 0].figure)
    return axes


def plot_gates(
    image: np.ndarray, mask: np.ndarray, gates: Sequence[np.ndarray], *, channel: int = FLAIR
) -> np.ndarray:
    """Shows an (H, W, C) uint8 slice with its reference, then each gate's (H, W) coefficients on [0, 1]."""
    axes = _grid(1, 1 + len(gates), side=2.0)[0]
    picture(axes[0], image[..., channel], "slice and reference")
    outline(axes[0], mask, REFERENCE)
    for k, (ax, coefficients) in enumerate(zip(axes[1:], gates, strict=True)):
        shown = ax.imshow(coefficients, cmap="cividis", vmin=0, vmax=1)
        ax.set_title(f"gate {k + 1}" + (", the coarsest" if k == 0 else ""))
    axes[0].figure.colorbar(shown, ax=axes, shrink=0.7, label="coefficient α")
    return axes
