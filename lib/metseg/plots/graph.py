"""The graph of a network, drawn as its papers draw it."""

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from metseg.plots.style import INK, PALE, axes_or_new, colour_of

if TYPE_CHECKING:
    from metseg.models.inspect import Graph

_STEP = 0.5  # columns that a level lies further right than the one above it
_BEND = 0.28


def plot_graph(graph: "Graph", *, model: str, ax: Axes | None = None) -> Axes:
    """Draws what `graph_of` read from a network: fine levels on top, the encoder on the left."""
    deepest = max(i for i, _ in graph.nodes)
    ax = axes_or_new(ax, (1.3 * deepest + 2.2, 1.05 * deepest + 1.2))
    colour = colour_of(model)

    def at(node: tuple[int, int]) -> tuple[float, float]:
        return 2 * _STEP * node[1] + _STEP * node[0], -node[0]

    for start, end, kind in graph.arrows:
        lateral = kind in ("skip", "gated")
        bend = _BEND if lateral and end[1] - start[1] > 1 and (start[0], start[1] + 1) in graph.nodes else 0
        ax.annotate(
            "", at(end), at(start),
            arrowprops={
                "arrowstyle": "-|>", "shrinkA": 15, "shrinkB": 15, "linewidth": 1.4 if lateral else 1,
                "color": colour if lateral else INK, "linestyle": "--" if lateral else "-",
                "connectionstyle": f"arc3,rad={-bend}",
            },
        )  # fmt: skip
        if kind == "gated":
            (x0, y), (x1, _) = at(start), at(end)
            ax.plot((x0 + x1) / 2, y, "D", color=colour, markersize=11, zorder=3)
            ax.text((x0 + x1) / 2, y, "α", color="white", ha="center", va="center", fontsize=8, zorder=4)
    for node, channels in graph.nodes.items():
        face, edge, ink = ("white", INK, INK) if node[1] == 0 else (colour, colour, "white")
        ax.plot(*at(node), "o", color=face, markeredgecolor=edge, markersize=27, zorder=2)
        text = f"X{node[0]},{node[1]}\n{channels}"
        ax.text(*at(node), text, ha="center", va="center", fontsize=6.5, color=ink, zorder=3)
    head = {"arrowstyle": "<|-", "color": INK}
    for x, y in map(at, graph.heads):
        ax.annotate("σ", (x, y + 0.25), (x, y + 0.75), ha="center", arrowprops=head)
    right = max(x for x, _ in map(at, graph.nodes))
    ax.set(xlim=(-0.5, right + 0.5), ylim=(-deepest - 0.5, 1.0))
    ax.set_axis_off()
    lines = [Line2D([], [], color=INK, label="down, up (twice the side)")]
    lines += [Line2D([], [], color=colour, linestyle="--", label="skip connection")]
    if "gated" in {kind for *_, kind in graph.arrows}:
        lines += [Line2D([], [], color=colour, marker="D", linestyle="", label="attention gate")]
    lines += [Line2D([], [], color=PALE, marker="o", linestyle="", label="Xi,j: level, column; channels")]
    ax.legend(handles=lines, loc="lower right", fontsize=7)
    return ax
