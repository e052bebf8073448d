"""Figure of what a network's forms cost and are worth."""

import pandas as pd
from matplotlib.axes import Axes

from metseg.base.labels import label_of
from metseg.plots.style import INK, PALE, axes_or_new, colour_of

_MARKERS = {"fp32": "o", "bf16": "s", "int8": "D"}  # told apart without colour


def plot_pareto(table: pd.DataFrame, *, model: str, ax: Axes | None = None) -> Axes:
    """Shows Dice against time, a marker a precision; takes `pareto.measure_variants`' table."""
    ax = axes_or_new(ax, (6.2, 3.6))
    front = table[table.on_front].sort_values("ms_per_slice")
    ax.plot(front.ms_per_slice, front.dice, color=PALE, linewidth=1, zorder=1, label="Pareto front")
    for precision, marker in _MARKERS.items():
        some = table[table.precision == precision]
        if len(some):
            ax.plot([], [], marker, color=INK, markerfacecolor="white", label=precision)
            face = [colour_of(model) if chosen else "white" for chosen in some.on_front]
            ax.scatter(
                some.ms_per_slice, some.dice, s=24 + 12 * some.mb, marker=marker,
                facecolors=face, edgecolors=colour_of(model), linewidths=1.3, zorder=2,
            )  # fmt: skip
    for row in table.itertuples():
        text = f"{row.variant} (default)" if row.default else row.variant
        ax.annotate(
            text, (row.ms_per_slice, row.dice), (6, 5), textcoords="offset points",
            color=INK, fontsize=8, fontweight="bold" if row.default else "normal",
        )  # fmt: skip
    ax.margins(0.18)
    ax.set(
        xlabel="ms a slice, one core",
        ylabel="volume Dice, mean of\nvalidation patients",
        title=f"{label_of(model)}: larger marks take more MB on disk",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
