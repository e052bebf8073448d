"""Figures of a sweep: what was tried, what each parameter does, what it cost."""

import itertools
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from metseg.base.labels import label_of
from metseg.plots.style import INK, LESION, PALE, axes_or_new, colour_of

_TOGETHER = "all"  # networks
_CHANCE = "#888888"
_STYLES = ("-", "--", ":", "-.")


def plot_parallel(done: pd.DataFrame, levels: Mapping[str, pd.Series], ax: Axes | None = None) -> Axes:
    """Shows each trial as a line through its parameters to its validation Dice, the best one thick.

    Args:
        done: Trials with `model`, `seed` and `validation_dice`, the best first.
        levels: {parameter: each trial's level, ordered categories}.
        ax: Where; a new figure if left out.
    """
    names = [name for name in levels if name != "model"]
    ax = axes_or_new(ax, (2.2 + 1.5 * (len(names) + 1), 3.6))
    low, high = done.validation_dice.min(), done.validation_dice.max()
    span = high - low or 1.0
    # side by side at each level, in order of Dice, so that lines do not lie on each other
    order = done.validation_dice.rank(method="first") / (len(done) + 1) - 0.5
    heights = {}
    for name in names:
        count = len(levels[name].cat.categories)
        heights[name] = (levels[name].cat.codes.astype(float) + 0.5 + 0.55 * order) / count
    heights["dice"] = (done.validation_dice - low) / span
    alpha = float(np.clip(12 / len(done), 0.08, 0.7))
    for k, row in reversed(list(enumerate(done.itertuples()))):
        ys = [each.loc[row.Index] for each in heights.values()]
        best = {"linewidth": 2.6, "zorder": 3} if k == 0 else {"linewidth": 1, "alpha": alpha}
        ax.plot(range(len(ys)), ys, color=colour_of(row.model), **best)
    for x, name in enumerate(names):
        ax.axvline(x, color=INK, linewidth=0.8, zorder=2)
        categories = levels[name].cat.categories
        for k, level in enumerate(categories):
            place = (x, (k + 0.5) / len(categories))
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
            ax.annotate(str(level), place, (-4, 0), textcoords="offset points", ha="right", va="center",
                        fontsize=8, bbox=box, zorder=4)  # fmt: skip
    last = len(names)
    ax.axvline(last, color=INK, linewidth=0.8, zorder=2)
    ticks = MaxNLocator(5).tick_values(low, high)
    for value in [high, *(each for each in ticks if low <= each < high - 0.06 * span)]:
        place = (last, (value - low) / span)
        ax.annotate(f"{value:.3f}", place, (5, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_xticks(range(last + 1), [*names, "validation Dice"])
    ax.set(xlim=(-0.35, last + 0.25), ylim=(-0.03, 1.03), yticks=[])
    ax.tick_params(axis="x", length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    _network_legend(ax, done.model)
    return ax


def plot_importance(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows each parameter's share of the variance of Dice, and what chance reaches; takes `importance`."""
    ax = axes_or_new(ax, (5.5, 0.9 + 0.32 * len(table)))
    others = {"model": "network", "seed": "another seed", "rest": "not explained by one parameter"}
    shares = ["cannot be told" if np.isnan(share) else f"{share:.0%}" for share in table.share]
    names = [f"{others.get(n, n)} · {share}" for n, share in zip(table.parameter, shares, strict=True)]
    told = table.is_told.astype(bool).to_numpy()
    ax.barh(names, table.share.fillna(0), height=0.6, color=np.where(told, INK, PALE))
    for y, chance in enumerate(table.chance):
        if not np.isnan(chance):
            name = None if ax.lines else "95 % of shuffled tables stay below"
            ax.plot([chance] * 2, [y - 0.4, y + 0.4], color=LESION, linewidth=1.6, label=name)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    most = np.nanmax([0.1, *table.share, *table.chance])
    ax.set(xlim=(0, 1.15 * most), xlabel="share of the variance of validation Dice")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if ax.lines:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_effects(table: pd.DataFrame) -> np.ndarray:
    """Shows the change of Dice by each level against its parameter's first, a panel a parameter.

    Takes `effects`. Thick lines are intervals over patients, thin grey ones the margin of chance between
    trainings; a mark is filled where the difference can be told.
    """
    names = list(table.parameter.unique()) or [""]  # of one setting there is nothing to show
    counts = [1 + table[table.parameter == name].level.nunique() for name in names]
    networks = list(table.network.unique())
    widths = [0.5 + (0.4 + 0.12 * len(networks)) * count for count in counts]
    axes = plt.subplots(
        1, len(names), figsize=(1.2 + sum(widths), 3.2), sharey=True, squeeze=False,
        gridspec_kw={"width_ratios": widths},
    )[1][0]  # fmt: skip
    for ax, name in zip(axes, names, strict=True):
        rows = table[table.parameter == name]
        if rows.empty:
            continue
        levels = list(dict.fromkeys([rows["first"].iloc[0], *rows.level]))
        ax.axhline(0, color=PALE, linewidth=1)
        shown = [network for network in networks if network in set(rows.network)]
        for row in rows.itertuples():
            x = levels.index(row.level) + 0.22 * (shown.index(row.network) - (len(shown) - 1) / 2)
            colour = INK if row.network == _TOGETHER else colour_of(row.network)
            margin = [row.difference - row.training_margin, row.difference + row.training_margin]
            ax.plot([x, x], [row.difference_low, row.difference_high], color=colour, linewidth=3)
            ax.plot([x, x], margin, color=_CHANCE, linewidth=1, zorder=1)
            ax.plot([x, x], margin, "_", color=_CHANCE, markersize=8, zorder=3)
            face = colour if row.is_told else "white"
            ax.plot(x, row.difference, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=4)
        ax.plot(0, 0, "_", color=INK, markersize=14)
        texts = [label_of(each) if name == "model" else each for each in levels]
        ax.set_xticks(range(len(levels)), [text.replace(" ", "\n").replace("–", "–\n") for text in texts])
        ax.set(xlim=(-0.5, len(levels) - 0.5), title="network" if name == "model" else name)
    if table.difference.notna().any():  # margins of few trainings may leave it
        low, high = min(0, table.difference_low.min()), max(0, table.difference_high.max())
        room, margin = 0.5 * (high - low), table.training_margin.fillna(0)
        below = max(low - room, min(low, (table.difference - margin).min()))
        above = min(high + room, max(high, (table.difference + margin).max()))
        axes[0].set_ylim(below - 0.04 * (above - below) - 1e-3, above + 0.04 * (above - below) + 1e-3)
    axes[0].set_ylabel("change of validation Dice\nagainst the first level")
    drawn = [(each, INK if each == _TOGETHER else colour_of(each)) for each in networks]
    handles = [Line2D([], [], color=c, marker="o", linewidth=3, label=_name(each)) for each, c in drawn]
    handles.append(Line2D([], [], color=_CHANCE, linewidth=1, marker="_", label="chance between trainings"))
    handles.append(
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label="cannot be told")
    )
    axes[0].figure.legend(handles=handles, loc="outside lower center", ncols=max(2, int(sum(widths) / 1.5)))
    return axes


def plot_learning_curves(
    curves: pd.DataFrame, done: pd.DataFrame, names: list[str], ax: Axes | None = None
) -> Axes:
    """Shows validation Dice against epochs; a colour a network, a line style for its second, third … trial.

    Args:
        curves: `trial`, `epoch`, `image_size`, `val_dice`.
        done: Those trials, the best first.
        names: The parameters that tell them apart.
        ax: Where; a new figure if left out.
    """
    ax = axes_or_new(ax, (7.5, 3.2))
    styles = {model: itertools.cycle(_STYLES) for model in done.model.unique()}
    for row in done.to_dict("records"):
        curve = curves[curves.trial == row["trial"]]
        if curve.empty:
            continue
        told = [f"{name} {_short(row[name])}" for name in [*names, "seed"] if name != "model"]
        label, style = " · ".join([label_of(row["model"]), *told]), next(styles[row["model"]])
        for _, part in curve.groupby("image_size", sort=False):  # a Dice on another size is another figure
            ax.plot(part.epoch, part.val_dice, style, color=colour_of(row["model"]), label=label)
            label = None
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel="validation Dice, mean of patients")
    if ax.lines:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    else:
        ax.annotate("no learning curves were kept", (0.5, 0.5), xycoords="axes fraction", ha="center")
    return ax


def plot_cost(done: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shows validation Dice against time, filled where no trial was as good in less; takes `done_trials`."""
    ax = axes_or_new(ax, (5.5, 3.4))
    minutes = done.seconds / 60
    front = done[done.on_front].sort_values("seconds")
    ax.step(front.seconds / 60, front.validation_dice, where="post", color=PALE, linewidth=1.2, zorder=1,
            label="Pareto front")  # fmt: skip
    colours = done.model.map(colour_of)
    ax.scatter(minutes, done.validation_dice, s=26, zorder=2, linewidths=1.2, edgecolors=colours,
               facecolors=np.where(done.on_front, colours, "white"))  # fmt: skip
    ax.set(xlabel="minutes a trial", ylabel="validation Dice")
    _network_legend(ax, done.model)
    return ax


def _name(network: str) -> str:
    return "all networks" if network == _TOGETHER else label_of(network)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _network_legend(ax: Axes, models: pd.Series) -> None:
    handles = [
        Line2D([], [], color=colour_of(model), linewidth=2.6, label=label_of(model))
        for model in models.sort_index().unique()
    ]
    front = [line for line in ax.lines if not line.get_label().startswith("_")]
    ax.legend(
        handles=[*handles, *front], loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles) + 1
    )
