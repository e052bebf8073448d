"""Figures of the benchmark: speed beside the machine's limits, beside peers, and against size."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from metseg.base.labels import label_of
from metseg.plots.style import INK, PALE, axes_or_new, colour_of

_LIBRARIES = {
    "metseg": ("metseg", "o"),
    "keras": ("Keras", "s"),
    "tensorflow": ("TensorFlow", "D"),
    "onnxruntime": ("ONNX Runtime", "v"),
    "monai": ("MONAI", "^"),
}
_PEER = "#9A9A9A"
_BAR_INCHES = 0.27


def plot_speed(results: pd.DataFrame, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Shows images/s of each contestant's training, a panel a network; whiskers are the quartiles.

    Args:
        results: Rows of `results_table`; those of the task training outside the scaling groups are shown.
        axes: One for each network.
    """
    rows = results[(results.task == "training") & ~results.group.str.startswith("scaling")]
    networks = list(dict.fromkeys(rows.network))
    if axes is None:
        height = 0.9 + _BAR_INCHES * rows.groupby("network").size().max()
        axes = plt.subplots(1, len(networks), figsize=(4.4 * len(networks), height), squeeze=False)[1][0]
    for ax, network in zip(axes, networks, strict=True):
        _bars(ax, rows[rows.network == network].iloc[::-1], network)
    return np.asarray(axes)


def _bars(ax: Axes, rows: pd.DataFrame, network: str) -> None:
    ours = rows.library == "metseg"
    whiskers = [rows["median"] - rows.q25, rows.q75 - rows["median"]]
    ax.barh(
        range(len(rows)), rows["median"], height=0.68, xerr=whiskers,
        color=np.where(ours, colour_of(network), PALE),
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": INK},
    )  # fmt: skip
    for y, row in enumerate(rows.itertuples()):
        value = f"{row.median:.1f}" if row.median < 100 else f"{row.median:.0f}"
        weight = "bold" if row.contestant == "metseg" else "normal"
        ax.annotate(value, (row.q75, y), (5, 0), textcoords="offset points", va="center", weight=weight)
    ax.set_yticks(range(len(rows)), [contestant_label(row) for row in rows.itertuples()])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    first = rows.iloc[0]
    ax.set(
        xlim=(0, 1.15 * rows.q75.max()),
        xlabel=f"training, images/s ({first['size']}², batch {first.batch})",
        title=label_of(network),
    )


def contestant_label(row) -> str:
    """Returns a contestant as a reader knows it: library, precision, memory format, where its data lie."""
    precision = {"bfloat16": "bf16", "float32": "f32"}.get(row.precision, row.precision)
    layout = "NHWC" if row.layout else ""
    source = "from files" if row.contestant.endswith("from files") else ""
    return " ".join(part for part in (_LIBRARIES[row.library][0], precision, layout, source) if part)


def plot_roofline(
    results: pd.DataFrame, gflops: Mapping[str, float], gb_per_s: float, ax: Axes | None = None
) -> Axes:
    """Shows achieved GFLOP/s against arithmetic intensity, under the roofs that were measured.

    The intensity is `Cost.intensity`: operations of a network's convolutions over the bytes that they cannot
    avoid to move, each input, kernel and output once. A roof is the lesser of bandwidth times intensity and
    the fastest matrix product (Williams et al. 2009, figure 1a).

    The intensity assumes cold caches and the slope is that of main memory, so that a point may lie above the
    slope where feature maps stay in the last-level cache from one convolution to the next.

    Args:
        results: Rows of `results_table`; those of trainings in memory outside the scaling groups are shown.
        gflops: The fastest product by precision, GFLOP/s.
        gb_per_s: Bandwidth of the memory, GB/s.
        ax: Where to draw.
    """
    ax = axes_or_new(ax, (6.2, 3.8))
    rows = results[(results.task == "training") & ~results.group.str.startswith("scaling")]
    rows = rows[~rows.contestant.str.endswith("from files")]
    ridge = max(gflops.values()) / gb_per_s
    x = np.geomspace(min(ridge / 4, rows.intensity.min() / 2), 2.5 * rows.intensity.max(), 300)
    for precision, limit in gflops.items():
        dashes = "--" if precision == "float32" else "-"
        ax.plot(x, np.minimum(gb_per_s * x, limit), dashes, color=INK, linewidth=1.2, zorder=1)
        text = f"{precision}, {limit:.0f} GFLOP/s"
        ax.annotate(text, (limit / gb_per_s, limit), (14, 4), textcoords="offset points", color=INK)
    place = (x[0], gb_per_s * x[0])
    ax.annotate(f"main memory, {gb_per_s:.0f} GB/s", place, (10, -3), textcoords="offset points", va="top")
    for row in rows.itertuples():
        colour = colour_of(row.network)
        ax.plot(
            row.intensity, row.gflops, _LIBRARIES[row.library][1], color=colour, markersize=7,
            markerfacecolor=colour if row.precision == "bfloat16" else "white", zorder=3,
        )  # fmt: skip
    ax.set(
        xscale="log", yscale="log", xlim=(x[0], x[-1]),
        xlabel="arithmetic intensity of the convolutions, FLOP/byte", ylabel="training, GFLOP/s",
        ylim=(min(rows.gflops.min(), gb_per_s * x[0]) / 1.6, 1.6 * max(gflops.values())),
    )  # fmt: skip
    _plain_numbers(ax)
    title = "filled: bfloat16\nhollow: float32\n"
    ax.legend(handles=_roofline_keys(rows), title=title, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_profile(profile: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows where a training step's time goes: a bar for each network and kind of operation.

    Args:
        profile: `profile_table` of a benchmark.
        ax: Where to draw.
    """
    shares = profile.set_index(["kind", "network"]).share.unstack(fill_value=0.0)  # noqa: PD010
    shares = shares.loc[shares.mean(axis=1).sort_values().index]
    networks = list(dict.fromkeys(profile.network))
    ax = axes_or_new(ax, (5.6, 0.9 + 0.19 * shares.size))
    height = 0.8 / len(networks)
    for k, network in enumerate(networks):
        places = np.arange(len(shares)) + height * ((len(networks) - 1) / 2 - k)
        bars = ax.barh(places, shares[network], height=height, color=colour_of(network))
        bars.set_label(label_of(network))
        ax.bar_label(bars, [f"{share:.1%}" for share in shares[network]], padding=4, fontsize=8)
    ax.set_yticks(range(len(shares)), shares.index)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(0, 1.12 * shares.max().max()), xlabel="share of the time of all operations")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="lower right")
    return ax


def _roofline_keys(rows: pd.DataFrame) -> list[Line2D]:
    def mark(label: str, marker: str, colour: str) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=label)

    keys = [mark(label_of(n), "o", colour_of(n)) for n in dict.fromkeys(rows.network)]
    return keys + [mark(*_LIBRARIES[name], _PEER) for name in dict.fromkeys(rows.library)]


def plot_scaling(
    results: pd.DataFrame, exponents: pd.DataFrame, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Shows metseg's times against image size and against the size of a data set, with fitted exponents.

    Behind an exponent stands its standard error, where there are points enough for one.

    Args:
        results: Rows of `results_table`; those of the scaling groups are shown.
        exponents: `scaling_table` of them.
        axes: One for each of the two that was measured.
    """
    rows = results[results.group.str.startswith("scaling-")]
    panels = [("pixels", "image side, px"), ("slices", "data set, slices")]
    panels = [panel for panel in panels if panel[0] in set(exponents.over)]
    if axes is None:
        axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.6), squeeze=False)[1][0]
    for ax, (over, label) in zip(axes, panels, strict=True):
        for fit in exponents[exponents.over == over].itertuples():
            curve = rows[(rows.task == fit.task) & (rows.network == fit.network)]
            _curve(ax, curve, fit)
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds")
        _plain_numbers(ax)
        if over == "pixels":
            ax.set_xticks(sizes := sorted(set(rows[rows.network != ""]["size"])), sizes)
            ax.xaxis.set_minor_locator(NullLocator())
        else:
            ax.xaxis.set_major_locator(LogLocator())
    return np.asarray(axes)


_TASKS = {
    "training": "training step",
    "inference": "inference",
    "open": "opening",
    "read": "a batch, read and augmented",
}


def _curve(ax: Axes, curve: pd.DataFrame, fit) -> None:
    times = milliseconds(curve)
    dashed = fit.task in ("inference", "read")
    colour = colour_of(fit.network) if fit.network else INK
    name = " · ".join(part for part in (label_of(fit.network), _TASKS[fit.task]) if part)
    exponent = f"{fit.exponent:.2f}"
    if np.isfinite(fit.standard_error):
        exponent += rf" \pm {fit.standard_error:.2f}"
    ax.plot(
        curve["size"], times, "--o" if dashed else "-o", color=colour, markersize=4,
        markerfacecolor="white" if dashed else colour, label=f"{name}: {fit.over}$^{{{exponent}}}$",
    )  # fmt: skip
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)


def milliseconds(rows: pd.DataFrame) -> np.ndarray:
    """Returns the median time of a step of each row of `results_table`."""
    by_unit = {
        "ms": rows["median"],
        "s": 1000 * rows["median"],
        "images/s": 1000 * rows.batch / rows["median"],
    }
    return np.select([rows.unit == unit for unit in by_unit], list(by_unit.values()))


def _plain_numbers(ax: Axes) -> None:
    """Writes 20 and 0.5 where matplotlib writes powers of ten."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_locator(NullLocator())
