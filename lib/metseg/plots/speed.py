"""Figures of speed: beside peers, against size, and against Dice."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from metseg.base.labels import label_of
from metseg.plots.style import INK, PALE, axes_or_new, colour_of

_LIBRARIES = {"metseg": "metseg", "keras": "Keras", "onnxruntime": "ONNX Runtime", "monai": "MONAI"}
_PRECISIONS = {"fp32": "o", "bf16": "s", "int8": "D"}  # told apart without colour


def plot_speed(results: pd.DataFrame) -> np.ndarray:
    """Shows images/s of each contestant's training, a panel a network; whiskers are the quartiles.

    Takes `results_table`, and shows the groups `training-…`.
    """
    trainings = results[results.group.str.startswith("training-")]
    panels = list(trainings.groupby("network", sort=False))
    size = (4.4 * len(panels), 0.9 + 0.27 * max(len(rows) for _, rows in panels))
    axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)[1][0]
    for ax, (network, rows) in zip(axes, panels, strict=True):
        rows = rows.iloc[::-1].replace({"bfloat16": "bf16", "float32": "f32", "channels_last": "NHWC"})
        parts = zip(rows.library.map(_LIBRARIES), rows.precision, rows.layout, strict=True)
        bars = ax.barh(
            [" ".join(each).strip() for each in parts], rows["median"], height=0.68,
            xerr=[rows["median"] - rows.q25, rows.q75 - rows["median"]],
            color=np.where(rows.library == "metseg", colour_of(network), PALE),
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": INK},
        )  # fmt: skip
        ax.bar_label(bars, [f"{value:.3g}" for value in rows["median"]], padding=5)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        shape = f"{rows['size'].iloc[0]}², batch {rows.batch.iloc[0]}"
        ax.set(xlim=(0, 1.15 * rows.q75.max()), title=label_of(network))
        ax.set_xlabel(f"training, images/s ({shape})")
    return axes


def plot_scaling(results: pd.DataFrame, exponents: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows metseg's times against image size, with fitted exponents and their standard errors.

    Takes `results_table`, whose groups `scaling-…` are shown, and their `scaling_table`.
    """
    ax = axes_or_new(ax, (4.6, 3.6))
    rows = results[results.group.str.startswith("scaling-")]
    for fit in exponents.itertuples():
        curve = rows[(rows.task == fit.task) & (rows.network == fit.network)]
        training, colour = fit.task == "training", colour_of(fit.network)
        times = 1000 * curve.batch / curve["median"] if training else curve["median"]  # ms
        error = "" if np.isnan(fit.standard_error) else rf" \pm {fit.standard_error:.2f}"
        name = f"{label_of(fit.network)} · {'training step' if training else 'inference'}"
        ax.plot(
            curve["size"], times, "-o" if training else "--o", color=colour, markersize=4,
            markerfacecolor=colour if training else "white",
            label=f"{name}: pixels$^{{{fit.exponent:.2f}{error}}}$",
        )  # fmt: skip
    ax.set(xlabel="image side, px", ylabel="milliseconds", xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):  # 20 and 0.5 where matplotlib writes powers of ten
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_locator(NullLocator())
    ax.set_xticks(sides := sorted(rows["size"].unique()), sides)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    return ax


def plot_pareto(table: pd.DataFrame, *, model: str, ax: Axes | None = None) -> Axes:
    """Shows Dice against time, a marker a precision; takes `pareto.measure_variants`' table."""
    ax = axes_or_new(ax, (6.2, 3.6))
    front = table[table.on_front].sort_values("ms_per_slice")
    ax.plot(front.ms_per_slice, front.dice, color=PALE, linewidth=1, zorder=1, label="Pareto front")
    for precision, some in table.groupby("precision", sort=False):
        marker = _PRECISIONS[precision]
        ax.plot([], [], marker, color=INK, markerfacecolor="white", label=precision)
        ax.scatter(
            some.ms_per_slice, some.dice, s=24 + 12 * some.mb, marker=marker, linewidths=1.3, zorder=2,
            facecolors=np.where(some.on_front, colour_of(model), "white"), edgecolors=colour_of(model),
        )  # fmt: skip
    for row in table.itertuples():
        ax.annotate(
            f"{row.variant} (default)" if row.default else row.variant, (row.ms_per_slice, row.dice), (6, 5),
            textcoords="offset points", color=INK, fontsize=8, fontweight="bold" if row.default else "normal",
        )  # fmt: skip
    ax.margins(0.18)
    ax.set(xlabel="ms a slice, one core", ylabel="volume Dice, mean of\nvalidation patients")
    ax.set_title(f"{label_of(model)}: larger marks take more MB on disk")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
